"""What repeats exactly of one architecture: peak bytes, streaming state, arithmetic, gradients; no clock.

Memory is counted by torch's allocator. From the curve of peak bytes the largest length and batch that fit a given
memory are predicted, and tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from seqbench import model, parts
from seqbench.config import MeasureSettings
from seqbench.device import Witness, out_of_memory
from seqbench.measure import clock, forms, work
from seqbench.measure.bench import Bench
from seqbench.measure.clock import Work
from seqbench.measure.memory import ALLOCATOR, peak_memory
from seqbench.measurements import Counted, Gates, Measurement, Prediction, Quantity
from seqbench.measurements import Work as Counting
from seqbench.scaling import Polynomial

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
    """One architecture's bench and the limits under which it is run."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.settings, self.device = bench, bench.settings, bench.device

    def peak(self, make: Callable[[], Work]) -> tuple[int | None, str]:
        """Peak bytes, or None and the status with which it ended."""
        clock.clear(self.device)
        try:
            with (
                clock.seconds_at_most(self.settings.budget),
                clock.bytes_at_most(self.settings.memory, self.device),
            ):
                return peak_memory(make, self.device), "ok"
        except clock.OverBudget:
            return None, "time_limit"
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return None, "out_of_memory"

    def train_bytes(self, batch: int, length: int, form: str) -> tuple[int | None, str]:
        """Peak bytes of a training step."""
        return self.peak(partial(self.bench.train, batch, length, form=form))

    def memory(self, form: str) -> list[Measurement]:
        """Peak bytes of a training step and of a forward pass by length."""
        found = []
        for length in self.settings.memory_lengths:
            batch = self.settings.batch
            peak, status = self.train_bytes(batch, length, form)
            found.append(self._bytes("train_memory", length, batch, form, peak, status, 4))
            if form in ("", forms.NAIVE):
                peak, status = self.peak(partial(self.bench.infer, batch, length, form=form))
                found.append(self._bytes("infer_memory", length, batch, form, peak, status, 1))
        return found

    def _bytes(
        self, quantity: Quantity, length: int, batch: int, form: str, peak: int | None, status: Any, copies: int
    ) -> Measurement:
        """A peak with its parts; `copies` of the parameters: weights, gradients and AdamW's two moments."""
        own = sum(p.numel() * p.element_size() for p in self.bench.net().parameters())
        named = {"parameters": own, "gradients": own, "optimizer": 2 * own} if copies == 4 else {"parameters": own}
        rest = {} if peak is None else named | {"activations": peak - copies * own}
        value = None if peak is None else clock.quantiles([peak])
        return Measurement(
            quantity=quantity,
            length=length,
            batch=batch,
            form=form,
            unit="bytes",
            value=value,
            status=status,
            parts=rest,
        )

    def states(self) -> list[Measurement]:
        """Bytes of the streaming state of one sequence after the contexts' numbers of steps."""
        wanted = sorted({*self.settings.contexts, *self.settings.lengths})
        net, (x, _) = self.bench.net().eval(), self.bench.data(1, max(wanted))
        state: Any = None
        found = []
        with torch.inference_mode():
            for steps, x_t in enumerate(x.unbind(1), start=1):
                _, state = net.step(x_t, state)
                if steps in wanted:
                    value = clock.quantiles([parts.bytes_of(state)])
                    found.append(Measurement(quantity="state", length=steps, batch=1, unit="bytes", value=value))
        return found

    def gradients(self) -> list[Measurement]:
        """Norm of the gradient by lag at initialisation."""
        length, seeds = self.settings.gradient_length, self.settings.gradient_seeds
        norms = [self.bench.gradient(seed, length) for seed in seeds]
        return [
            Measurement(
                quantity="gradient",
                length=lag,
                batch=self.settings.batch,
                unit="norm",
                value=clock.quantiles(of[lag] for of in norms),
            )
            for lag in lags(length, self.settings.reach_lags)
        ]

    def work(self) -> list[Counting]:
        """Operations and traffic per token."""
        settings, bench = self.settings, self.bench
        found = []
        for phase, make in (("train", bench.train), ("infer", bench.infer)):
            along = work.along(partial(make, settings.batch), settings.lengths, lambda n: settings.batch * n)
            found += [self._work(phase, n, settings.batch, *along[n]) for n in settings.lengths]
        along = work.along(bench.stream, settings.contexts, lambda n: 1)
        return [*found, *(self._work("stream", n, 1, *along[n]) for n in settings.contexts)]

    def _work(self, phase: Any, length: int, batch: int, flops: float, traffic: float) -> Counting:
        return Counting(phase=phase, length=length, batch=batch, flops=flops, bytes=traffic)

    def prediction(self, what: str, form: str, curve: Mapping[int, int]) -> Prediction:
        """The largest length (or batch) within `settings.fits`, from a curve of peak bytes; then tried."""
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
            of = [m for m in memory if m.quantity == "train_memory" and m.form == form and m.value]
            curve = {m.length: round(m.value.median) for m in of if m.value}
            if len(curve) >= 3:
                found.append(self.prediction("length", form, curve))
        batches = [self.settings.batch * times for times in GROWN]
        by_batch = {batch: self.train_bytes(batch, self.settings.length, "")[0] for batch in batches}
        known = {batch: peak for batch, peak in by_batch.items() if peak is not None}
        return [*found, self.prediction("batch", "", known)] if len(known) == len(GROWN) else found


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
    device: torch.device,
    say: Callable[[str], None],
) -> Counted:
    """All that is counted of one architecture; nothing of one that fails a gate in the model that stands for it.

    Raises InputError where no width fits the budget or the core cannot be built or streamed.
    """
    witness = Witness(device, model.kernel(device))
    bench = Bench(arch, core, settings, device)
    measurements: list[Measurement] = []
    counted: list[Counting] = []
    predictions: list[Prediction] = []
    refused = gates.refusal(bench.spec.kind)
    if not refused:
        with clock.measuring():
            counter = Counter(bench)
            naive = [forms.NAIVE] if forms.attends(bench.net(), bench.data(1, 2)[0]) else []
            remedies = [forms.CHECKPOINTED, *([forms.TRUNCATED] if bench.carries else [])]
            for form in ["", *naive, *remedies]:
                measurements += counter.memory(form)
                say(f"{arch}: peak memory{', ' * bool(form)}{form}")
            predictions = counter.predictions(measurements, ["", *naive])
            for one in predictions:
                say(
                    f"{arch}: largest {one.what} within {one.limit} bytes: {one.predicted} predicted, {one.found} found"
                )
            measurements += [*counter.states(), *counter.gradients()]
            counted = counter.work()
            say(f"{arch}: arithmetic and gradients")
    return Counted(
        arch=arch,
        width=bench.width,
        parameters=model.count(bench.net()).matched,
        measurements=tuple(measurements),
        work=tuple(counted),
        predictions=tuple(predictions),
        methods=METHODS | {"allocator": ALLOCATOR[device.type]},
        refused=refused,
        provenance=witness.provenance(),
    )
