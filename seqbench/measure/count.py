"""What repeats exactly of one architecture: peak bytes, streaming state, arithmetic, gradients; no clock.

Memory is counted by torch's allocator. From the curve of peak bytes the largest length and batch that fit a given
memory are predicted, and tried. Each peak and each prediction is kept as soon as it is there: a count that was killed
goes on. Running out of memory or time is a result, not a crash.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from seqbench import archs, model, parts
from seqbench.config import MeasureSettings
from seqbench.device import Witness, out_of_memory
from seqbench.measure import clock, forms, work
from seqbench.measure.bench import Bench
from seqbench.measure.clock import Work
from seqbench.measure.kept import Kept
from seqbench.measure.memory import ALLOCATOR, peak_memory
from seqbench.measurements import Counted, Gates, Measurement, Prediction, Quantity
from seqbench.measurements import Work as Counting
from seqbench.records import Record, Status
from seqbench.scaling import Polynomial

T = TypeVar("T")
Point = TypeVar("Point", bound=Record)

METHODS: dict[str, str] = {
    "train_memory": "largest sum of live bytes during a training step, parameters, optimizer and inputs included",
    "infer_memory": "largest sum of live bytes during a forward pass in inference mode, parameters and inputs included",
    "state": "bytes of the tensors that a streamed sequence leaves after `length` steps",
    "gradient": "d loss_T / d x_(T-lag), norm over features, mean over a batch, at initialisation, in float64; "
    "one repetition per seed",
    "work": work.METHOD,
}
GROWN = (1, 2, 4, 8)
"""Times the usual batch that the largest one is predicted from."""
ROUNDS = 16
"""Runs at most in which a prediction is tried."""


def lags(length: int, most: int) -> list[int]:
    """0 and about `most` lags up to length - 1, evenly spread on a logarithmic scale."""
    spread = np.geomspace(1, max(length - 1, 1), most).round().astype(int).tolist()
    return sorted({0, *(lag for lag in spread if lag < length)})


class Counter:
    """One architecture's bench, the limits under which it is run, and where its points are kept."""

    def __init__(self, bench: Bench, kept: Kept) -> None:
        self.bench, self.settings, self.device = bench, bench.settings, bench.device
        self.kept = kept

    def within(self, make: Callable[[], T]) -> tuple[T | None, Status, str]:
        """What `make` gives within a point's seconds and bytes; else None, with the status and the reason."""
        clock.clear(self.device)
        try:
            with (
                clock.seconds_at_most(self.settings.budget),
                clock.bytes_at_most(self.settings.memory, self.device),
            ):
                return make(), "ok", ""
        except clock.OverBudget as error:
            return None, "time_limit", str(error)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            cpu = self.device.type == "cpu"
            return None, "out_of_memory", f"beyond {self.settings.memory} bytes" if cpu else "beyond the GPU's memory"

    def keep(self, what: list[Any], kind: type[Point], make: Callable[[], Point]) -> Point:
        """The point that an earlier count has kept, or one made now; `what`: all that decides it beside the model."""
        decides = [*what, self.bench.width, self.bench.spec.plain()]
        return self.kept.get(self.bench.arch, self.bench.core, decides, kind, make)

    def train_bytes(self, batch: int, length: int, form: str) -> tuple[int | None, str]:
        """Peak bytes of a training step now, or None and the status with which it ended."""
        step = partial(self.bench.train, batch, length, form=form)
        peak, status, _ = self.within(partial(peak_memory, step, self.device))
        return peak, status

    def memory(self, form: str) -> list[Measurement]:
        """Peak bytes of a training step and of a forward pass by length."""
        quantities: tuple[Quantity, ...] = ("train_memory", "infer_memory")
        wanted = quantities if form in ("", forms.NAIVE) else quantities[:1]
        batch = self.settings.batch
        return [self.peak(one, batch, length, form) for length in self.settings.memory_lengths for one in wanted]

    def peak(self, quantity: Quantity, batch: int, length: int, form: str) -> Measurement:
        """Peak bytes at one length and batch, kept or counted now."""
        make = partial(self._peak, quantity, batch, length, form)
        return self.keep([quantity, batch, length, form], Measurement, make)

    def _peak(self, quantity: Quantity, batch: int, length: int, form: str) -> Measurement:
        """A peak with its parts: in training weights, gradients and AdamW's two moments, else the weights alone."""
        trains = quantity == "train_memory"
        work = partial(self.bench.train if trains else self.bench.infer, batch, length, form=form)
        peak, status, reason = self.within(partial(peak_memory, work, self.device))
        own = sum(p.numel() * p.element_size() for p in self.bench.net().parameters())
        named = {"parameters": own, "gradients": own, "optimizer": 2 * own} if trains else {"parameters": own}
        return Measurement(
            quantity=quantity,
            length=length,
            batch=batch,
            form=form,
            unit="bytes",
            value=None if peak is None else clock.quantiles([peak]),
            status=status,
            reason=reason,
            parts={} if peak is None else named | {"activations": peak - sum(named.values())},
        )

    def states(self) -> list[Measurement]:
        """Bytes of the streaming state of one sequence after the contexts' numbers of steps.

        Each goes on from the one before, within seconds and bytes of its own; after one that runs out none is reached.
        """
        wanted = sorted({*self.settings.contexts, *self.settings.lengths})
        net, (x, _) = self.bench.net().eval(), self.bench.data(1, max(wanted))
        state: Any = None

        @torch.inference_mode()
        def go_on(begin: int, end: int) -> int:
            nonlocal state
            for x_t in x[:, begin:end].unbind(1):
                _, state = net.step(x_t, state)
            return parts.bytes_of(state)

        found = []
        size, reason = None, ""
        status: Status = "ok"
        for begin, end in itertools.pairwise([0, *wanted]):
            if status == "ok":
                size, status, reason = self.within(partial(go_on, begin, end))
            value = None if size is None else clock.quantiles([size])
            found.append(
                Measurement(
                    quantity="state", length=end, batch=1, unit="bytes", value=value, status=status, reason=reason
                )
            )
        return found

    def gradients(self) -> list[Measurement]:
        """Norm of the gradient by lag at initialisation; of no lag where memory or time runs out."""
        length, seeds = self.settings.gradient_length, self.settings.gradient_seeds
        norms, status, reason = self.within(lambda: [self.bench.gradient(seed, length) for seed in seeds])
        return [
            Measurement(
                quantity="gradient",
                length=lag,
                batch=self.settings.batch,
                unit="norm",
                value=clock.quantiles(of[lag] for of in norms) if norms else None,
                status=status,
                reason=reason,
            )
            for lag in lags(length, self.settings.reach_lags)
        ]

    def work(self, say: Callable[[str], None]) -> list[Counting]:
        """Operations and traffic per token; a phase in which memory or time runs out is left out, and said."""
        settings, bench = self.settings, self.bench
        phases: list[tuple[Any, Callable[[int], Work], tuple[int, ...], int]] = [
            ("train", partial(bench.train, settings.batch), settings.lengths, settings.batch),
            ("infer", partial(bench.infer, settings.batch), settings.lengths, settings.batch),
            ("stream", bench.stream, settings.contexts, 1),
        ]
        found = []
        for phase, make, lengths, batch in phases:
            tokens = partial(_tokens, phase, batch)
            along, status, reason = self.within(partial(work.along, make, lengths, tokens))
            if along is None:
                say(f"{bench.arch}: arithmetic of '{phase}' is left out: {status} ({reason})")
                continue
            for n in lengths:
                flops, traffic = along[n]
                found.append(Counting(phase=phase, length=n, batch=batch, flops=flops, bytes=traffic))
        return found

    def prediction(self, what: str, form: str, curve: Mapping[int, int]) -> Prediction:
        """The largest length (or batch) within `settings.fits`, from a curve of peak bytes; kept, or tried now."""
        decides = ["prediction", what, form, self.settings.fits, sorted(curve.items())]
        return self.keep(decides, Prediction, partial(self._prediction, what, form, curve))

    def _prediction(self, what: str, form: str, curve: Mapping[int, int]) -> Prediction:
        settings = self.settings
        other = settings.batch if what == "length" else settings.length
        predicted = Polynomial.fit(list(curve), list(curve.values())).largest(settings.fits)

        def fits(size: int) -> bool | None:
            batch, length = (other, size) if what == "length" else (size, other)
            peak, status = self.train_bytes(batch, length, form)
            return None if status == "time_limit" else peak is not None and peak <= settings.fits

        return Prediction(
            what=what,  # type: ignore[arg-type]
            other=other,
            form=form,
            limit=settings.fits,
            predicted=predicted,
            found=largest(fits, predicted) if predicted else None,
        )

    def predictions(self, memory: list[Measurement], usual_forms: list[str]) -> list[Prediction]:
        """The largest length in each form of attention, and the largest batch."""
        found = []
        for form in usual_forms:
            curve = {m.length: m for m in memory if m.quantity == "train_memory" and m.form == form}
            known = _known(curve)
            if len(known) >= 3:
                found.append(self.prediction("length", form, known))
        batches = [self.settings.batch * times for times in GROWN]
        known = _known({batch: self.peak("train_memory", batch, self.settings.length, "") for batch in batches})
        return [*found, self.prediction("batch", "", known)] if len(known) == len(GROWN) else found


def _known(curve: Mapping[int, Measurement]) -> dict[int, int]:
    """Bytes by size, where there are any."""
    return {size: round(m.value.median) for size, m in curve.items() if m.value}


def _tokens(phase: str, batch: int, length: int) -> int:
    """Tokens that one call reads: the batch, or its next step."""
    return batch if phase == "stream" else batch * length


def largest(fits: Callable[[int], bool | None], near: int) -> int | None:
    """The largest size that fits, to 2 % of `near`, looked for from there outwards and then by halving.

    0 where none fits; None where a try took too long, or `ROUNDS` were not enough.
    """
    close = step = max(1, near // 50)
    low, high, size = 0, 0, near
    for _ in range(ROUNDS):
        answer = fits(size)
        if answer is None:
            return None
        low, high = (size, high) if answer else (low, size)
        if high and high - low <= close:
            return low
        size = (low + high) // 2 if low and high else size + step if low else max(1, size - step)
        step *= 2
    return None


def count(
    arch: str,
    core: Mapping[str, Any],
    settings: MeasureSettings,
    gates: Gates,
    root: Path,
    device: torch.device,
    say: Callable[[str], None],
) -> Counted:
    """All that is counted of one architecture; nothing of one that fails a gate in the model that stands for it.

    Peaks and predictions are kept under `root/measured/points`. Raises InputError where no width fits the budget or the
    core cannot be built or streamed.
    """
    with clock.measuring():
        torch.set_num_threads(1)  # attention has a buffer for each thread
        witness = Witness(device, model.kernel(device))
        bench = Bench(arch, core, settings, device)
        refused = gates.refusal(bench.spec.kind)
        counter = Counter(bench, Kept(root, settings, device))
        measurements, predictions, counted = ([], [], []) if refused else _all(counter, say)
        return Counted(
            arch=arch,
            core=dict(core),
            version=archs.version(arch),
            settings=settings.plain(),
            width=bench.width,
            parameters=model.count(bench.net()).matched,
            measurements=tuple(measurements),
            work=tuple(counted),
            predictions=tuple(predictions),
            methods=METHODS | {"allocator": ALLOCATOR[device.type]},
            refused=refused,
            provenance=witness.provenance(),
        )


def _all(counter: Counter, say: Callable[[str], None]) -> tuple[list[Measurement], list[Prediction], list[Counting]]:
    """Peaks of every form, states and gradients; the largest sizes; arithmetic."""
    bench, arch = counter.bench, counter.bench.arch
    naive = [forms.NAIVE] if forms.attends(bench.net(), bench.data(1, 2)[0]) else []
    remedies = [forms.CHECKPOINTED, *([forms.TRUNCATED] if bench.carries else [])]
    measurements: list[Measurement] = []
    for form in ["", *naive, *remedies]:
        measurements += counter.memory(form)
        say(f"{arch}: peak memory{', ' * bool(form)}{form}")
    predictions = counter.predictions(measurements, ["", *naive])
    for one in predictions:
        say(f"{arch}: largest {one.what} within {one.limit} bytes: {one.predicted} predicted, {one.found} found")
    measurements += [*counter.states(), *counter.gradients()]
    counted = counter.work(say)
    say(f"{arch}: arithmetic and gradients")
    return measurements, predictions, counted
