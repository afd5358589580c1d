"""Training: one loop for every architecture and task, and what surrounds it.

`fit` is the loop. `train` runs one seed of a cell from data to `Result`, `train_cell` all seeds.
Everything random is a function of (seed, axis, step), so there is no loader state and no
generator state to keep: resuming is exact because nothing was lost.
"""

from __future__ import annotations

import dataclasses
import gc
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqbench import archs, batches, checkpoint, evaluate, files, model, tasks
from seqbench.batches import Batch, OnDevice, Splits
from seqbench.device import Witness, out_of_memory
from seqbench.errors import DataError
from seqbench.prepared import Prepared
from seqbench.records import (
    Parameters,
    Point,
    Provenance,
    Result,
    RunProvenances,
    Runs,
    Sample,
    Setting,
    Status,
    Versions,
    derive,
    run_key,
)
from seqbench.schedule import best_point, learning_rate, stops_early
from seqbench.seq2seq import Seq2Seq

CHECKPOINT_SECONDS = 20.0
PROGRESS_SECONDS = 10.0

Say = Callable[[str], None]


# ---------------------------------------------------------------- the loop


@dataclasses.dataclass
class Fit:
    """What the loop leaves: why it ended, the curve, the best weights, seconds of all attempts."""

    status: Status = "ok"
    reason: str = ""
    steps: int = 0
    curve: list[Point] = dataclasses.field(default_factory=list)
    best: checkpoint.Tensors | None = None
    seconds_before: float = 0.0


class Job:
    """One training: the setting, data, model and optimiser, and where its resume states go."""

    def __init__(self, setting: Setting, splits: Splits, rate: float, seed: int, folder: Path, say: Say) -> None:
        self.setting, self.settings, self.splits = setting, setting.train, splits
        self.spec, self.rate, self.folder, self.say = setting.applied(splits.data.spec), rate, folder, say
        self.device = device = splits.device
        self.task = tasks.build(setting.task, setting.task_settings)
        self.seeds = axes(seed)
        self.width = model.solve_width(self.spec, setting.arch, setting.core, setting.parameters)
        self.model = model.build(self.spec, setting.arch, setting.core, self.width, self.seeds["init"])
        model.load_pretrained(self.model, splits.data)
        self.model.to(device)
        kind = torch.optim.AdamW if self.settings.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = kind(self.model.parameters(), lr=rate, weight_decay=self.settings.weight_decay, fused=True)
        self.batch = batches.training(splits.train, self.settings.batch, self.seeds["order"])
        self.clipped = list(self.model.parameters()) if self.settings.clip else []
        self.carried: Any = None
        """With a stream: the core's state after the window before."""

    def resume(self) -> Fit:
        """The newest resume state, put back into the model and optimiser; a fresh start without one."""
        found = checkpoint.newest(self.folder)
        if found is None:
            return Fit()
        tensors, state = found
        parts: dict[str, checkpoint.Tensors] = {"model": {}, "best": {}}
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            if part == "optimizer":
                index, key = rest.split(".", 1)
                moments.setdefault(int(index), {})[key] = value
            elif part in parts:
                parts[part][rest] = value
        carried = {name: value.to(self.device) for name, value in tensors.items() if name.startswith("carried")}
        self.carried = checkpoint.nested(carried, "carried")
        self.model.load_state_dict(parts["model"])
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        curve = [Point.from_data(point) for point in state["curve"]]
        self.say(f"resumed at step {state['steps']}")
        return Fit(steps=state["steps"], curve=curve, best=parts["best"] or None, seconds_before=state["seconds"])

    def save(self, fit: Fit, seconds: float) -> None:
        """Keep a resume state."""
        tensors = {f"model.{name}": value for name, value in checkpoint.weights(self.model).items()}
        tensors |= {f"best.{name}": value for name, value in (fit.best or {}).items()}
        tensors |= checkpoint.flat(self.carried, "carried")
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value.cpu() for key, value in moments.items()}
        state = {"steps": fit.steps, "curve": [point.plain() for point in fit.curve], "seconds": seconds}
        checkpoint.save(self.folder, fit.steps, tensors, state)

    def loss(self, batch: Batch) -> Tensor:
        """The training loss of a batch, a scalar; with a stream, on from the state of the window before."""
        x, y, lengths, fresh = batch
        if isinstance(self.model, Seq2Seq):
            return model.loss(self.model(x, lengths, y), y, self.spec)
        if self.spec.outputs == "stream":
            outputs, state = self.model.carry(x, None if fresh else self.carried)
            self.carried = _detached(state)
            return model.loss(outputs, y, self.spec)
        return model.loss(self.model(x, lengths), y, self.spec, self.model.steps(lengths))

    def step(self, number: int) -> Tensor:
        """One step of the optimiser on batch `number`; the loss before it, a scalar without history."""
        reseed(derive(self.seeds["dropout"], number), self.device)  # dropout, or noise of a core's own
        loss = self.loss(self.batch(number))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.clipped:
            nn.utils.clip_grad_norm_(self.clipped, self.settings.clip)
        self.optimizer.step()
        return loss.detach()

    def evaluate(self, data: OnDevice, final: bool = False) -> dict[str, float]:
        """Metrics over every item of a split; with `final` also those that are dear."""
        return evaluate.evaluate(self.model, self.task, data, self.splits.data, final)

    def progress(self, step: int, total: int) -> None:
        """A heartbeat for `seqbench status`."""
        record = {"step": step, "steps": total, "updated": time.time()}
        files.write_json(self.folder / "progress.json", record)


def _detached(state: Any) -> Any:
    """A state without its history: gradients end at the window's start (truncated back-propagation through time)."""
    if isinstance(state, Tensor):
        return state.detach()
    return None if state is None else tuple(_detached(part) for part in state)


def reseed(seed: int, device: torch.device) -> None:
    """Seed torch's generators, the CPU's and those of `device`, as `torch.manual_seed` does.

    That one formats a stack trace for each kind of device that is not in use: 5 % of a small step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)


def fit(job: Job, steps: int) -> Fit:
    """Train for at most `steps` steps; stop early, remember the best weights, resume where killed.

    Nothing waits for the device between two evaluations but the heartbeat's clock, and the loss of alignments (on the
    CPU).
    """
    settings, net = job.settings, job.model
    watched, direction = job.spec.watched
    state = job.resume()
    began = beat = saved = time.monotonic()
    total = torch.zeros((), device=job.device)
    net.train()
    while state.steps < steps:
        if settings.patience and stops_early(state.curve, settings.patience, direction):
            break
        step = state.steps
        rate = learning_rate(job.rate, step, state.curve, settings, direction)
        for group in job.optimizer.param_groups:
            group["lr"] = rate
        total += job.step(step)
        state.steps += 1
        now = time.monotonic()
        if now - beat > PROGRESS_SECONDS:
            beat = now
            job.progress(state.steps, steps)
            job.say(f"step {state.steps}/{steps}")
        if state.steps % settings.eval_every and state.steps < steps:
            continue
        since = state.steps % settings.eval_every or settings.eval_every
        mean = float(total) / since
        total.zero_()
        valid = job.evaluate(job.splits.valid)[watched]
        finite = math.isfinite(mean) and math.isfinite(valid)
        point = Point(
            step=state.steps,
            loss=mean if math.isfinite(mean) else None,
            valid=valid if math.isfinite(valid) else None,
            learning_rate=rate,
        )
        state.curve.append(point)
        if not finite:
            state.status, state.reason = "diverged", f"loss or validation score not finite at step {state.steps}"
            return state
        if best_point(state.curve, direction) is point:
            state.best = checkpoint.weights(net)
        seconds = state.seconds_before + time.monotonic() - began
        if settings.time_limit and seconds > settings.time_limit and state.steps < steps:
            state.status, state.reason = "time_limit", f"{settings.time_limit:g} s were over at step {state.steps}"
            return state
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            saved = time.monotonic()
            job.save(state, seconds)
    return state


# ---------------------------------------------------------------- around the loop


def guarded(work: Callable[[], Fit]) -> Fit:
    """The work's outcome; memory that runs out is an outcome, not a crash."""
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        reason = str(error).splitlines()[0]
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    # The message holds sizes and addresses of this moment: keep its kind, which repeats.
    return Fit(status="out_of_memory", reason=reason.split(":")[0].split(". ")[0])


def versions(setting: Setting) -> Versions:
    """The version integers of a cell's parts."""
    return Versions(task=tasks.find(setting.task).VERSION, core=archs.version(setting.arch))


def axes(seed: int) -> dict[str, int]:
    """The seed of each named axis of a run: a change of one leaves the others alone."""
    return {axis: derive(seed, axis) for axis in ("init", "order", "dropout")}


def run_folder(root: Path, task_id: str, label: str, seed: int, key: str) -> Path:
    """Where a run of the cell of that label keeps its result, weights and resume states."""
    return root / "runs" / task_id / label / f"seed-{seed}" / key[:16]


def finished(folder: Path, key: str) -> Result | None:
    """The run's result if it ended; a damaged one counts as none and is made again."""
    try:
        result = Result.read(folder / "result.json", "")
        Provenance.read(folder / "provenance.json", "")
    except DataError:
        return None
    if (
        result.key != key
        or run_key(result.setting, result.learning_rate, result.seed, result.versions, result.data_digest) != key
    ):
        return None
    if result.weights_sha256:
        try:
            checkpoint.read_weights(folder / "model.safetensors", result.weights_sha256, "")
        except DataError:
            return None
    return result


def train(setting: Setting, splits: Splits, rate: float, seed: int, root: Path, say: Say) -> Result:
    """One run: trained, its best weights restored, the test split read once. Returns at once if it ended before."""
    data, spec = splits.data, splits.data.spec
    task_id = tasks.task_id(setting.task, setting.task_settings)
    key = run_key(setting, rate, seed, versions(setting), data.manifest.digest)
    folder = run_folder(root, task_id, setting.label, seed, key)
    with files.lock(folder / "lock", waiting=lambda: say("waiting: another process trains this run")):
        known = finished(folder, key)
        if known:
            say(f"already finished: {spec.metric} {known.score}")
            return known
        witness = Witness(splits.device, model.kernel(splits.device))
        made: list[Job] = []
        reads = data.test_reads

        def work() -> Fit:
            made.append(Job(setting, splits, rate, seed, folder, say))
            return fit(made[0], setting.train.steps)

        outcome = guarded(work)
        result = _conclude(outcome, made, key, setting, splits, rate, seed, folder, reads)
        result.write(folder / "result.json")
        witness.provenance(outcome.seconds_before).write(folder / "provenance.json")
        checkpoint.clear(folder)
        (folder / "progress.json").unlink(missing_ok=True)
    say(f"{result.status}: {spec.metric} {result.score} after {result.steps} steps")
    return result


def _conclude(
    outcome: Fit,
    made: list[Job],
    key: str,
    setting: Setting,
    splits: Splits,
    rate: float,
    seed: int,
    folder: Path,
    reads: int,
) -> Result:
    """Final evaluation and record; `reads` of the test split came before. A run that failed reads none."""
    data, spec, job = splits.data, splits.data.spec, made[0] if made else None
    best = best_point(outcome.curve, spec.watched[1])
    valid, test, sha256 = {}, {}, ""
    samples: tuple[Sample, ...] = ()
    if outcome.best is not None and job is not None:
        sha256 = checkpoint.write_weights(folder / "model.safetensors", outcome.best)
    if outcome.status == "ok" and outcome.best is not None and job is not None:
        job.model.load_state_dict(outcome.best)
        valid = job.evaluate(job.splits.valid)
        unseen = splits.read_test()
        test = job.evaluate(unseen, final=True)
        samples = evaluate.samples(job.model, job.task, unseen, data, seed)
        if not all(map(math.isfinite, [*valid.values(), *test.values()])):  # a perplexity may be beyond a float
            outcome.status, outcome.reason = "diverged", "a final score is not finite"
            valid, test, samples = {}, {}, ()
    return Result(
        key=key,
        task=tasks.task_id(setting.task, setting.task_settings),
        arch=setting.arch,
        seed=seed,
        seeds=axes(seed),
        setting=setting,
        learning_rate=rate,
        versions=versions(setting),
        data_digest=data.manifest.digest,
        data_sizes=data.manifest.sizes,
        status=outcome.status,
        reason=outcome.reason,
        steps=outcome.steps,
        best_step=best.step if best else 0,
        examples=job.batch.examples(outcome.steps) if job else 0,
        metric=spec.metric,
        direction=spec.direction,
        valid=valid,
        test=test,
        test_reads=data.test_reads - reads,
        width=job.width if job else 0,
        parameters=model.count(job.model) if job else Parameters(embedding=0, frontend=0, core=0, head=0),
        state_bytes=model.state_bytes(job.model) if job else 0,
        curve=tuple(outcome.curve),
        weights_sha256=sha256,
        scorer=spec.scorer,
        samples=samples,
    )


def train_cell(
    setting: Setting,
    rate: float,
    seeds: tuple[int, ...],
    root: Path,
    device: torch.device,
    say: Say,
    whole: bool = True,
) -> Runs:
    """Seeds of a cell in one process, one after the other, each as if it were alone.

    With `whole` they are all seeds of the cell: `results.json` and `provenance.json` under
    `root/runs/<task id>/<label>` are written from them. Otherwise only the runs' own folders change.
    """
    task_id = tasks.task_id(setting.task, setting.task_settings)
    splits = Splits(Prepared(root / "prepared" / task_id), device)
    results, notes = [], {}
    for seed in seeds:
        result = train(setting, splits, rate, seed, root, partial(_tell, say, seed))
        folder = run_folder(root, task_id, setting.label, seed, result.key)
        results.append(result)
        notes[str(seed)] = Provenance.read(folder / "provenance.json", "train the cell again")
        say(f"seed {seed}: {folder / 'result.json'}")
    runs = Runs(task=task_id, arch=setting.label, results=tuple(results))
    if whole:
        cell = root / "runs" / task_id / setting.label
        RunProvenances(task=task_id, arch=setting.label, runs=notes).write(cell / "provenance.json")
        runs.write(cell / "results.json")
    return runs


def _tell(say: Say, seed: int, text: str) -> None:
    say(f"seed {seed}: {text}")
