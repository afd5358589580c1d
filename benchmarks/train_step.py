"""What a training step costs in seqbench, in a plain PyTorch loop, and in Lightning's Trainer.

    pip install -e .[benchmark]
    python benchmarks/train_step.py [--rounds N] [--arch lstm ...]

All arms train one model in turn, with the same data, batch size, learning rate and clipping, on
one thread. One model, because the place of its weights in memory alone moves times by 1 to 4 %. In
each round every arm makes one short epoch, in an order shuffled anew; a ratio compares an arm with
seqbench in one round, so that what the machine does meanwhile hits both. The second seqbench (A/A)
shows what noise makes of a ratio. Nobody evaluates. Only seqbench pays for repeatable batches and
for a copy of its weights each round.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import gc
import itertools
import logging
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from seqbench import archs, batches, device, prepared, tasks, train
from seqbench.prepared import Prepared
from seqbench.records import Setting, TrainSettings, TuneSettings

RATE, CLIP = 1e-3, 1.0
LOOK = 10
"""Steps between two looks at the loss in the plain loops."""

PLAIN = ("plain", "plain, fused AdamW")
"""The arms that seqbench must not be slower than."""
ROW = "{:<8} {:<12} {:<24} {:>22} {:>22} {:>8}"

Times = tuple[float, float]
"""Seconds of the wall clock, and of this process on the CPU."""
Arm = Callable[[], Times]


@dataclasses.dataclass(frozen=True)
class Case:
    """A task, the parameters of its models, and the steps of a round: one epoch."""

    task: str
    settings: dict[str, Any]
    parameters: int
    batch: int
    steps: int

    @property
    def items(self) -> int:
        return self.batch * self.steps

    def setting(self, arch: str) -> Setting:
        """The cell of an architecture."""
        rules = TrainSettings(
            batch=self.batch, steps=self.steps, eval_every=self.steps, schedule="constant", patience=0, clip=CLIP
        )
        return Setting(
            task=self.task,
            task_settings=tasks.build(self.task, self.settings | {"train": self.items}).settings.plain(),
            arch=arch,
            core=archs.defaults(arch),
            parameters=self.parameters,
            train=rules,
            tune=TuneSettings(),
        )

    def prepare(self, root: Path) -> Prepared:
        """Data of the task's own making; pixels are noise, since MNIST would be a download."""
        task = tasks.build(self.task, self.settings | {"train": self.items})
        arrays = pixels(self.items) if self.task == "smnist" else task.arrays({})[0]
        prepared.write(
            root / self.task,
            task=self.task,
            settings=task.settings.plain(),
            version=task.VERSION,
            spec=task.spec(arrays),
            arrays=arrays,
            defects=(),
            sources={},
        )
        return Prepared(root / self.task)


CASES = (
    Case("adding", {"length": 50, "valid": 64, "test": 64}, parameters=6_000, batch=32, steps=30),
    Case("smnist", {"pool": 2}, parameters=20_000, batch=16, steps=40),
)


def pixels(items: int) -> dict[str, prepared.Array]:
    """Noise in the shape of 14 x 14 images, read pixel by pixel."""
    source = np.random.default_rng(0)
    sizes = {"train": items, "valid": 64, "test": 64}
    x = {f"{split}.x": source.integers(256, size=(size, 196, 1), dtype=np.uint8) for split, size in sizes.items()}
    return x | {f"{split}.y": source.integers(10, size=size) for split, size in sizes.items()}


# ---------------------------------------------------------------- the arms


class Stopwatch:
    """Wall and CPU time between `start` and `stop`."""

    def start(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self.times = time.perf_counter() - self._began[0], time.process_time() - self._began[1]


class Unevaluated(train.Job):
    """A job whose looks at the validation split cost nothing: no arm has any."""

    def evaluate(self, data: batches.OnDevice, final: bool = False) -> dict[str, float]:
        return {self.spec.metric: 0.0}


def seqbench(job: train.Job) -> Arm:
    """seqbench's own loop, in the mode in which it trains."""
    items, batch, seed = len(job.splits.train), job.settings.batch, job.seeds["order"]

    def arm() -> Times:
        torch.use_deterministic_algorithms(True)
        watch = Stopwatch()
        watch.start()
        job.batch = batches.training(job.splits.train, batch, seed)  # a permutation each round, as everybody
        train.fit(job, items // batch)
        watch.stop()
        torch.use_deterministic_algorithms(False)
        return watch.times

    return arm


def objective(job: train.Job) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss, as a person would pick it."""
    return F.mse_loss if job.spec.outputs == "values" else F.cross_entropy


def plain(job: train.Job, fused: bool | None, epoch: Callable[[], Iterator[Any]]) -> Arm:
    """The loop that a person writes; `epoch` gives its batches. `fused` None leaves the choice to AdamW."""
    net, loss_of = job.model, objective(job)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.0, fused=fused)

    def arm() -> Times:
        watch = Stopwatch()
        watch.start()
        net.train()
        losses = []
        for step, (x, y) in enumerate(epoch(), start=1):
            optimizer.zero_grad()
            loss = loss_of(net(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), CLIP)
            optimizer.step()
            if step % LOOK == 0:
                losses.append(loss.item())
        watch.stop()
        return watch.times

    return arm


def rows(data: batches.OnDevice, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The cheapest batches there are: a permutation, cut into pieces."""
    for index in torch.split(torch.randperm(len(data)), batch):
        yield data.x[index], data.y[index]


class Module(lightning.LightningModule):
    """The model as Lightning wants it; it keeps its optimiser from round to round."""

    def __init__(self, job: train.Job) -> None:
        super().__init__()
        self.net, self.loss_of = job.model, objective(job)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=RATE, weight_decay=0.0, fused=True)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return self.loss_of(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer


class Watched(lightning.Callback):
    """The clock runs in the training loop only: what a Trainer does before it comes once a run."""

    def __init__(self) -> None:
        self.watch = Stopwatch()

    def on_train_start(self, *_: Any) -> None:
        self.watch.start()

    def on_train_end(self, *_: Any) -> None:
        self.watch.stop()


def trainer(job: train.Job, loader: DataLoader[Any]) -> Arm:
    """Lightning with everything off that can be off."""
    module = Module(job)

    def arm() -> Times:
        watched = Watched()
        lightning.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=1,
            gradient_clip_val=CLIP,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[watched],
        ).fit(module, loader)
        return watched.watch.times

    return arm


def arms(case: Case, data: Prepared, arch: str, folder: Path) -> dict[str, Arm]:
    """All arms of a cell. The first is the base."""
    splits = batches.Splits(data, torch.device("cpu"))
    job = Unevaluated(case.setting(arch), splits, RATE, 1, folder / arch, lambda _: None)
    loader = DataLoader(TensorDataset(splits.train.x, splits.train.y), batch_size=case.batch, shuffle=True)
    return {
        "seqbench": seqbench(job),
        "seqbench (A/A)": seqbench(job),
        "plain": plain(job, None, loader.__iter__),
        "plain, fused AdamW": plain(job, True, loader.__iter__),
        "fused, no DataLoader": plain(job, True, functools.partial(rows, splits.train, case.batch)),
        "Lightning, fused AdamW": trainer(job, loader),
    }


# ---------------------------------------------------------------- measuring


def measure(found: dict[str, Arm], rounds: int, warm: int = 2) -> dict[str, prepared.Array]:
    """Times (rounds, 2) of every arm, in seconds: wall, CPU."""
    order, times = list(found), {name: np.zeros((rounds, 2)) for name in found}
    shuffle = random.Random(0).shuffle
    gc.collect()
    gc.freeze()  # so that the collections between the arms, off the clock, are quick
    for number in range(-warm, rounds):
        shuffle(order)
        for name in order:
            gc.collect()
            seconds = found[name]()
            if number >= 0:
                times[name][number] = seconds
    gc.unfreeze()
    return times


def line(words: list[str], ratios: prepared.Array, step: float) -> str:
    """A row of the table: medians and quartiles of the ratios (rounds, 2), CPU ms of a seqbench step."""
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75], axis=0)
    cells = [f"{middle[i]:.3f} [{low[i]:.3f}, {high[i]:.3f}]" for i in range(2)]
    return ROW.format(*words, *cells, f"{step:.2f}")


def slower(ratios: prepared.Array, comparisons: int) -> bool:
    """Whether seqbench lost too many rounds (CPU time) for chance: sign test, 5 %, Bonferroni."""
    lost = int(np.sum(ratios[:, 1] < 1))
    return bool(stats.binomtest(lost, len(ratios), alternative="greater").pvalue * comparisons < 0.05)


def main() -> int:
    """Print the table; 1 where a plain loop was quicker than seqbench."""
    parser = argparse.ArgumentParser(description="Training steps: seqbench against a plain loop and Lightning.")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each cell (default 20)")
    parser.add_argument("--arch", nargs="+", choices=archs.names(), default=archs.names(), help="default: all")
    chosen = parser.parse_args()
    device.deterministic()
    torch.use_deterministic_algorithms(False)
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    print(f"torch {torch.__version__}, lightning {lightning.__version__}, one thread, {chosen.rounds} rounds")
    print("time of the arm / time of seqbench in the same round: median [quartiles]; above 1, seqbench is quicker")
    print(ROW.format("task", "core", "arm", "wall", "CPU", "ms/step"))
    lost = []
    with tempfile.TemporaryDirectory() as folder:
        ready = [(case, case.prepare(Path(folder))) for case in CASES]
        for (case, data), arch in itertools.product(ready, chosen.arch):
            times = measure(arms(case, data, arch, Path(folder)), chosen.rounds)
            base = times.pop("seqbench")
            for name, seconds in times.items():
                print(
                    line([case.task, arch, name], seconds / base, 1000 * np.median(base[:, 1]) / case.steps), flush=True
                )
                if name in PLAIN and slower(seconds / base, len(PLAIN) * len(CASES) * len(chosen.arch)):
                    lost.append(f"{case.task} {arch}: {name}")
    print(f"seqbench is slower than: {'; '.join(lost) or 'no plain loop'}")
    return bool(lost)


if __name__ == "__main__":
    sys.exit(main())
