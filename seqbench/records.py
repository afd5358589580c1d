"""The few things that travel between stages: frozen, JSON in and out, with keys.

A *task id* is a task's name, followed by `-` and the value of its knob where it has one
(`adding-50`). A *cell* is (task id, architecture); one that differs from those of the grid in a named
way is a *variant*, and its *label* says so (`lstm+no_clipping`). A *run* is a cell with a seed.

What must be equal on equal hardware is in `Result`; everything that differs between
machines is in `Provenance` and in seqbench/measurements.py. They are never in the same file.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from seqbench import files
from seqbench.errors import DataError

LOOP_VERSION = 2
"""Raise when training, evaluation or selection changes numbers: finished runs then run again."""

# YAML reads `1e-3` as text: such numbers are taken as what the person meant.
Positive = Annotated[float, Field(strict=False, gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(strict=False, ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(strict=False, ge=0, lt=1)]

Status = Literal["ok", "diverged", "out_of_memory", "time_limit"]

PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3
"""Tokens with a meaning of their own, where a task has them."""
UNSCORED = -1
"""A label that is not scored."""


def _day(value: object) -> str:
    """A day or time, which YAML knows and JSON does not."""
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"not plain data: {value!r}")


class Record(BaseModel):
    """Frozen, typed, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def from_data(cls, data: Any) -> Self:
        """From plain JSON data (lists become tuples). Raises pydantic's ValidationError."""
        return cls.model_validate_json(json.dumps(data, default=_day))

    def plain(self) -> dict[str, Any]:
        """Plain JSON data."""
        return self.model_dump(mode="json")

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        files.write_json(path, self.plain())

    @classmethod
    def read(cls, path: Path, fix: str) -> Self:
        """Read what `write` wrote. A missing, damaged or foreign file is a DataError."""
        data = files.read_json(path, fix)
        try:
            return cls.from_data(data)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise DataError(f"not a {cls.__name__} ({key}: {first['msg']})", str(path), fix) from None


# ---------------------------------------------------------------- tasks


class Spec(Record):
    """What a task asks of a model; with it the frontend, head, loss and score are settled.

    `inputs` are "tokens" (integers below `input_size`) or "values" (`input_size` numbers a
    step, used as (value - shift) / scale). `outputs` are, with cross-entropy as the loss,

    - "classes": one label per sequence;
    - "steps": one label for each of the last `window` steps;
    - "every": one label for each step, UNSCORED where none is asked for;
    - "stream": one label for each step of one long sequence, which is read in windows of
      `length` steps; a core that can carries its state from each window to the next;
    - "sequence": a sequence of tokens of its own length, by an encoder and a decoder;
    - "ctc": a sequence of labels, fewer than there are steps and in their order, with the loss of
      connectionist temporal classification (Graves et al. 2006) instead; label 0 is its blank;
    - "multilabel": `output_size` yes-or-no labels for each step, any number of them yes, with binary
      cross-entropy, summed over the labels of a step and averaged over steps;

    and "values": `output_size` numbers per sequence, with mean squared error.
    """

    FREE: ClassVar[tuple[str, ...]] = ("causal", "connection", "dropout", "pooling")
    """Fields that a variant of a cell may change: they concern the model, neither the data nor the score."""

    inputs: Literal["tokens", "values"]
    input_size: Count
    outputs: Literal["classes", "steps", "every", "stream", "sequence", "ctc", "multilabel", "values"]
    output_size: Count
    length: Count
    """Longest sequence, in steps; with "stream" the window."""
    window: int = 0
    """With "steps": how many last steps are scored."""
    target_length: int = 0
    """With "sequence": longest target, with its end mark; with "ctc": longest target."""
    frontend: Literal["linear", "spectrogram", "frames"] = "linear"
    """What stands between values and core: a linear map of each step; two convolutions over time and
    frequency, of stride 2 in both, so that the core sees a quarter of the steps; or an image encoder,
    which sees each frame alone."""
    frame: tuple[Count, ...] = ()
    """With the frontend "frames": channels, height, width of the image in each step."""
    encoder: Literal["small", "resnet18"] = "small"
    """With the frontend "frames": four small convolutions, or a ResNet-18 (He et al. 2016)."""
    metric: str
    """The score that ranks: a key of what `Task.score` returns."""
    direction: Literal["max", "min"]
    selection: Literal["metric", "cross_entropy"] = "metric"
    """What is looked at on validation: the metric, or (where that is dear) the loss."""
    scorer: str = ""
    """What computed the metric, where a library has a signature for it."""
    unit: str = ""
    causal: bool = True
    """False: output i may depend on later inputs, and every core reads both ways."""
    pooling: Literal["last", "mean", "ends"] = "last"
    """With "classes" and "values": the last step, the mean over steps, or the last step's first
    half beside the first step's second half: the final states of both directions."""
    connection: Literal["none", "additive", "attention"] = "none"
    """With "sequence": what the decoder sees of the encoder: its final state at each step; all its
    steps by additive attention; or by the core's own cross-attention, additive where it has none."""
    embedding: int = 0
    """Columns of the embedding table (tokens only); the same for every architecture."""
    tied: bool = False
    """The embedding table is also the last map of the head (Press & Wolf 2017); then it is outside
    the parameter budget on both sides."""
    dropout: Share = 0.0
    """On what the frontend gives to the core and the core to the head; a core's own is its own."""
    shift: float = 0.0
    scale: float = 1.0
    ceiling: float | None = None
    """Best known or possible score, where there is one."""

    def seen(self, steps: Any) -> Any:
        """How many steps the core sees of so many: a number, or an array or tensor of them."""
        return (steps + 3) // 4 if self.frontend == "spectrogram" else steps

    @property
    def kind(self) -> str:
        """Frontend, head and direction in words: which model a core stands in."""
        frontend = "embedding" if self.inputs == "tokens" else self.frontend
        head = {
            "classes": f"classes from the {self.pooling}",
            "values": f"values from the {self.pooling}",
            "sequence": f"sequence, connection {self.connection}",
        }.get(self.outputs, self.outputs)
        return f"{frontend}, {head}, {'causal' if self.causal or self.outputs == 'sequence' else 'both ways'}"

    @property
    def watched(self) -> tuple[str, Literal["max", "min"]]:
        """The score that epochs and learning rates are chosen by, on validation, and its direction."""
        return (self.metric, self.direction) if self.selection == "metric" else ("cross_entropy", "min")


class ArrayInfo(Record):
    """One prepared array: file name, sha256 of the file, bytes, shape, dtype."""

    file: str
    sha256: str
    bytes: int
    shape: tuple[int, ...]
    dtype: str


class Manifest(Record):
    """What `prepare` made: arrays by name (`train.x`), notes on defects handled, one digest."""

    task: str
    settings: dict[str, Any]
    version: int
    spec: Spec
    sizes: dict[str, int]
    """Items in each split."""
    arrays: dict[str, ArrayInfo]
    defects: tuple[str, ...]
    """Each known defect of the source and what was done about it, with counts."""
    sources: dict[str, str]
    """sha256 of each raw file read: by source name, or by path for a person's own file."""
    digest: str
    """sha256 over task, version, spec and the arrays' hashes: the data part of every run's key."""


class Control(Record):
    """What a rule without sequence learning scores on the test split."""

    name: str
    kind: Literal["trivial", "strong"]
    metrics: dict[str, float]


class Controls(Record):
    """The controls of one task id, made from one prepared data set."""

    task: str
    data_digest: str
    metric: str
    direction: Literal["max", "min"]
    controls: tuple[Control, ...]


# ---------------------------------------------------------------- settings


class TrainSettings(Record):
    """How every architecture is trained on a task (nothing here differs between them)."""

    optimizer: Literal["adam", "adamw"] = "adamw"
    weight_decay: NonNegative = 0.0
    clip: NonNegative = 1.0
    """Largest norm of the gradient (Pascanu et al. 2013); 0 = no clipping."""
    batch: Count = 64
    steps: Count = 10_000
    eval_every: Count = 500
    """Steps between two looks at the validation split."""
    schedule: Literal["constant", "plateau", "cosine"] = "plateau"
    warmup: Annotated[int, Field(ge=0)] = 0
    """Steps in which the learning rate first rises in a line to what the schedule says (Vaswani et al. 2017, eq. 3)."""
    plateau_patience: Annotated[int, Field(ge=0)] = 2
    """Evaluations without a better validation loss before the learning rate is halved."""
    patience: Annotated[int, Field(ge=0)] = 6
    """Evaluations without a better validation score before training stops; 0 = never."""
    time_limit: NonNegative = 0.0
    """Seconds of training before the run ends as `time_limit`; 0 = none."""


class TuneSettings(Record):
    """The search for a learning rate: same rates, seeds and steps for every architecture."""

    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (3e-4, 1e-3, 3e-3)
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (1001,)
    """Never reporting seeds."""
    steps: Count = 2_000


class Setting(Record):
    """A cell, resolved: everything that decides its results but data, versions and seed."""

    task: str
    task_settings: dict[str, Any]
    arch: str
    core: dict[str, Any]
    """The core's own settings: layers, dropout, ..."""
    parameters: Count
    """Budget: trainable parameters outside embedding tables (Kaplan et al. 2020, sec. 1.3) and image encoders."""
    train: TrainSettings
    tune: TuneSettings
    variant: str = ""
    """The ablation or published row that the cell belongs to; empty: a cell of the grid, or one like those."""
    spec: dict[str, Any] = {}
    """What the variant changes of the task's Spec: fields of `Spec.FREE`."""

    @model_serializer(mode="wrap")
    def _without_empty(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A cell of the grid is written as if there were no variants: so are its keys."""
        fields: dict[str, Any] = serialise(self)
        return {key: value for key, value in fields.items() if value or key not in ("variant", "spec")}

    @property
    def label(self) -> str:
        """The cell's name on its task: lstm, lstm+no_clipping."""
        return f"{self.arch}+{self.variant}" if self.variant else self.arch

    def applied(self, spec: Spec) -> Spec:
        """A task's Spec as this cell's model has it. Raises pydantic's ValidationError."""
        return Spec.from_data(spec.plain() | self.spec) if self.spec else spec


class Versions(Record):
    """The integers that a change of numbers raises; part of every run's key."""

    task: int
    core: int
    loop: int = LOOP_VERSION


# ---------------------------------------------------------------- runs


class Point(Record):
    """One look at the validation split."""

    step: int
    """Optimiser steps taken."""
    loss: float | None
    """Mean training loss since the look before (None where it was not finite)."""
    valid: float | None
    """Validation score (the one that `Spec.watched` names)."""
    learning_rate: float


class Parameters(Record):
    """Trainable parameters per part."""

    embedding: int
    encoder: int = 0
    """Of the image encoder, where there is one."""
    frontend: int
    """Without embedding table and image encoder."""
    core: int
    head: int

    @property
    def matched(self) -> int:
        """What the budget counts."""
        return self.frontend + self.core + self.head


class Sample(Record):
    """One thing that a trained model said, for people to read."""

    source: str
    reference: str
    output: str
    source_tokens: tuple[str, ...] = ()
    output_tokens: tuple[str, ...] = ()
    attention: tuple[tuple[float, ...], ...] = ()
    """(output tokens, source tokens), rounded to two digits; empty: the model has none."""


class Result(Record):
    """One run. Equal on equal hardware to the byte: no clock, no host, no path."""

    key: str
    task: str
    """Task id."""
    arch: str
    seed: int
    seeds: dict[str, int]
    """The seed of each axis (initialisation, batch order, dropout), derived from `seed`."""
    setting: Setting
    learning_rate: float
    versions: Versions
    data_digest: str
    data_sizes: dict[str, int]
    status: Status
    reason: str = ""
    steps: int
    best_step: int
    examples: int
    """Training examples seen."""
    metric: str
    direction: Literal["max", "min"]
    valid: dict[str, float]
    test: dict[str, float]
    """Empty unless the run got to its end; failures rank as the worst score."""
    test_reads: int
    width: int
    parameters: Parameters
    state_bytes: int
    """Bytes of streaming state of one sequence after `spec.length` steps."""
    curve: tuple[Point, ...]
    weights_sha256: str
    scorer: str = ""
    """Signature of the library that computed the metric."""
    samples: tuple[Sample, ...] = ()

    @property
    def score(self) -> float | None:
        """The ranking score on the test split; None for a failed run."""
        return self.test.get(self.metric)


class Hardware(Record):
    """The machine's fingerprint."""

    device: str
    """"cpu" or "cuda"."""
    name: str
    """Of the CPU or GPU."""
    cores: int
    memory_bytes: int
    """Of the machine, or of the GPU."""
    driver: str
    platform: str
    versions: dict[str, str]
    """Python, torch, CUDA, NumPy, ..."""


class Provenance(Record):
    """Where, when and how a file was made. Differs between machines; never part of a Result."""

    commit: str
    dirty: bool
    command: str
    hardware: Hardware
    threads: int
    kernel: str
    """The kernel path that ran, in words."""
    started: str
    finished: str
    """UTC, ISO 8601."""
    seconds: float
    load_before: float
    load_after: float
    """Load average over one minute, per core."""


class Runs(Record):
    """All seeds of a cell: what `train` declares as its output."""

    task: str
    arch: str
    """The cell's label: its architecture, with the name of its variant."""
    results: tuple[Result, ...]


class RunProvenances(Record):
    """Provenance of each run of a cell by seed."""

    task: str
    arch: str
    """The cell's label."""
    runs: dict[str, Provenance]


class Trial(Record):
    """One learning rate tried with one tuning seed."""

    learning_rate: float
    seed: int
    status: Status
    valid: float | None


class Tuned(Record):
    """The chosen learning rate of a cell."""

    key: str
    task: str
    arch: str
    """The cell's label."""
    learning_rate: float
    border: bool
    """The optimum lies on the edge of the search space: a wider search might find better."""
    trials: tuple[Trial, ...]


# ---------------------------------------------------------------- keys and seeds


def derive(seed: int, *axes: str | int) -> int:
    """A seed (63 bits) of its own for each named axis: task, split, init, order, dropout, ..."""
    text = "/".join([str(seed), *map(str, axes)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def run_key(setting: Setting, learning_rate: float, seed: int, versions: Versions, data_digest: str) -> str:
    """The name of a run's numbers: equal keys, equal hardware -> equal bytes."""
    decides = setting.plain()
    decides.pop("tune")  # tuning matters only through the learning rate it chose
    decides.pop("variant", None)  # a name
    return files.digest(
        {
            "setting": decides,
            "learning_rate": learning_rate,
            "seed": seed,
            "versions": versions.plain(),
            "data": data_digest,
        }
    )
