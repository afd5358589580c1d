"""What measuring leaves behind: gates, speeds, exact counts, horizons. Frozen, JSON in and out, no torch.

`Gates` come first: an architecture that fails one is neither timed nor ranked. `Measured` holds what a
clock says, `Counted` what repeats exactly (bytes, arithmetic, gradients), `Reaches` what trained models
still know of inputs long past.
"""

from __future__ import annotations

from typing import Any, Literal

from seqbench.records import Provenance, Record, Status

Gate = Literal["causality", "streaming", "padding", "batch", "state", "seed", "clipping", "gradient"]
"""Output i has no gradient by input j > i; step by step equals all at once; neither padding nor the
others of a batch change an item; no state is left from one call to the next; the seed, and nothing
else, decides the first weights; the clipped gradient has the norm asked for; gradients are finite,
reach every parameter and are those of differences in float64."""


class Check(Record):
    """One gate of one model: a core between a frontend and a head."""

    gate: Gate
    model: str
    """`Spec.kind` of the model."""
    passed: bool
    deviation: float | None
    """The largest deviation seen, in the unit of `note`; None where the check could not be carried out."""
    tolerance: float
    note: str
    """What was compared; of a failed check, what it means in plain words."""


class Gates(Record):
    """All gates of one architecture."""

    arch: str
    core: dict[str, Any]
    """Settings of the core."""
    version: int
    """VERSION of the architecture's file."""
    checks: tuple[Check, ...]
    provenance: Provenance

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    def refusal(self, kind: str | None = None) -> str:
        """Why the architecture may not be timed (None), or not ranked in models of this `Spec.kind`; empty: it may."""
        checks = [one for one in self.checks if kind in (None, one.model)]
        if not checks:
            return f"{self.arch} has passed no gate in the model '{kind or 'any'}': it was not checked."
        failed = [one for one in checks if not one.passed]
        if not failed:
            return ""
        order = list(dict.fromkeys(one.gate for one in self.checks))  # causes before what follows from them
        first = min(failed, key=lambda one: order.index(one.gate))
        more = f", and {len(failed) - 1} more of {len(checks)} checks" if len(failed) > 1 else ""
        return f"{self.arch} fails the gate '{first.gate}' in the model '{first.model}'{more}: {first.note}."


class Quantiles(Record):
    """Of repeated measurements: median, quartiles, 99th percentile, how many, and how much they vary."""

    median: float
    q25: float
    q75: float
    p99: float
    repetitions: int
    variation: float = 0.0
    """Coefficient of variation: standard deviation / mean."""


Quantity = Literal[
    "train", "infer", "generate", "first_token", "stream", "train_memory", "infer_memory", "state", "gradient"
]
"""tokens/s of a training step, of a forward pass and of generation; ms from a prompt to the next output;
ms per streamed step at batch 1; peak bytes of a training step and of a forward pass; bytes of streaming
state of one sequence; norm of d loss_T / d x_(T-lag) at initialisation."""

Track = Literal["best", "reference"]
"""The fastest correct path of each architecture; plain PyTorch, the same kind of code for all."""


class Measurement(Record):
    """One quantity of one architecture at one length and batch, with its unit and spread."""

    quantity: Quantity
    length: int
    """Steps in the sequence; of "stream" and "generate" the steps before; of "gradient" the lag."""
    batch: int
    threads: int = 1
    """Of a CPU; 1 on a GPU."""
    track: Track = "best"
    form: str = ""
    """What was done otherwise than usual: "naive attention", "checkpointed", "truncated at 64"."""
    unit: str
    value: Quantiles | None
    visits: int = 1
    """Times that the point was visited, spread over the sweep, undisturbed if most were."""
    drift: float | None = None
    """Largest distance of a visit's median from that of all, relative to it; None of a single visit."""
    status: Status = "ok"
    reason: str = ""
    flags: tuple[str, ...] = ()
    """"contended" or "throttled": the machine was not quiet, or slowed down, also when it was tried again; "unsteady":
    the visits of the point differ."""
    path: str = ""
    """Which path ran: "eager", "plain", "compiled", "graph"."""
    kernels: tuple[str, ...] = ()
    """The costliest kernels of the profiler's record, costliest first."""
    parts: dict[str, int] = {}
    """Of peak bytes: parameters, gradients, optimizer, activations."""
    joules: float | None = None
    """Per 1,000 tokens, above idle; None where the machine has no meter."""
    load: float | None = None
    """Cores that other processes kept busy."""
    megahertz: float | None = None
    """Clock frequency after the work, where it can be read."""
    commit: str = ""
    """Of the code that measured it, where that may have been an earlier one than that of the record around it."""


class Peak(Record):
    """What the device can do at best, measured in the same run: products of matrices, and copying."""

    threads: int
    flops: Quantiles
    """Floating-point operations per second of a product of square float32 matrices."""
    traffic: Quantiles
    """Bytes per second, read and written, of copying."""


class CellTime(Record):
    """How long the model of one cell takes on its own task, with the batches that it is trained on."""

    arch: str
    step: Quantiles | None
    """Seconds per training step."""
    item: Quantiles | None
    """Seconds per item of the validation split, scoring included."""
    flops: float | None = None
    """Operations of products in one training step, counted as in `Work`, mean over some steps; None: not counted."""
    status: Status = "ok"
    flags: tuple[str, ...] = ()
    refused: str = ""
    """The gate that forbids timing, in words."""
    commit: str = ""
    """Of the code that measured it."""


class Pace(Record):
    """How long the models of one task take, one after the other on a quiet machine."""

    task: str
    """Task id."""
    cells: tuple[CellTime, ...]
    variants: tuple[CellTime, ...] = ()
    """Of ablations on this task, with their bases; `arch` is the label."""
    settings: dict[str, Any]
    """What was measured, and how often: MeasureSettings of the plan."""
    provenance: Provenance


class OfArchitecture(Record):
    """What belongs to every record of one architecture: its model, the settings, how and where it was made."""

    arch: str
    core: dict[str, Any]
    """Settings of the core."""
    version: int
    """VERSION of the architecture's file."""
    settings: dict[str, Any]
    """What was measured, and how often: MeasureSettings of the plan."""
    width: int
    parameters: int
    measurements: tuple[Measurement, ...]
    methods: dict[str, str]
    """How each quantity was measured."""
    refused: str = ""
    """The gate that forbids measuring, in words; then there are no measurements."""
    provenance: Provenance


class Measured(OfArchitecture):
    """What the clock says of one architecture on one machine."""

    peaks: tuple[Peak, ...] = ()
    """One per number of threads."""
    energy: str
    """How energy was measured, or why it was not."""


class Work(Record):
    """Arithmetic and traffic per token, counted and not timed."""

    phase: Literal["train", "infer", "stream"]
    length: int
    """Steps in the sequence; of "stream" the steps before."""
    batch: int
    flops: float
    """Floating-point operations of products (a multiplication and an addition are two) per token."""
    bytes: float
    """Read and written by the operators' inputs and outputs, per token."""

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.flops / self.bytes


class Prediction(Record):
    """The largest length or batch whose training step fits a memory, as predicted from smaller ones and as found."""

    what: Literal["length", "batch"]
    other: int
    """The batch, or the length, that was kept."""
    form: str = ""
    limit: int
    """Bytes."""
    predicted: int
    found: int | None
    """By running the step at and around it; None where it could not be run."""

    @property
    def error(self) -> float | None:
        """Of the prediction, relative to what was found; None where nothing was."""
        return self.predicted / self.found - 1 if self.found else None


class Counted(OfArchitecture):
    """What repeats exactly: bytes, operations, gradients of one architecture."""

    work: tuple[Work, ...]
    predictions: tuple[Prediction, ...]


# ---------------------------------------------------------------- reach


class Reach(Record):
    """How much one run's answer depends on inputs so many steps back."""

    seed: int
    kind: Literal["gradient", "intervention"]
    """Norm of d loss_t / d x_(t-lag), in float64; change of the correct answer's logit (or of the predicted
    numbers) when the input `lag` steps back is another one."""
    trained: bool
    lags: tuple[int, ...]
    effects: tuple[float, ...]
    """Mean over items, one per lag; 0 is a value."""
    horizon: int | None
    """The smallest lag from which on the effect stays below half of the largest; None: it never does."""


class Extrapolation(Record):
    """The score of one run on sequences of another length than it was trained on."""

    seed: int
    length: int
    score: float | None
    """By the task's metric; None where the model cannot read so many steps."""


class Allowed(Record):
    """The score of one trained run that may see only the last steps before an answer, on items of validation.

    All earlier inputs are those of another item.
    """

    seed: int
    steps: int
    """The answer's own step among them; the largest of a run: all there are."""
    metric: str
    """The task's where one answer has it (accuracy, mse), else the loss: cross_entropy, nll or mse."""
    score: float | None
    """Of the answers that horizons look at alone, one per item; None: not finite."""


class Reaches(Record):
    """How far the runs of one cell remember."""

    task: str
    """Task id."""
    arch: str
    keys: dict[str, str]
    """By seed, the key of each run that was looked at."""
    trained_length: int
    reaches: tuple[Reach, ...]
    extrapolations: tuple[Extrapolation, ...]
    contexts: tuple[Allowed, ...] = ()
    """By run and steps; empty where nothing was measured."""
    bits: dict[str, float]
    """By seed: bits of the sequence that the answers recall, per sequence; empty where the task asks for none."""
    state_bytes: int
    skipped: str = ""
    """Why nothing was measured, in words."""
    provenance: Provenance


class TaskReaches(Record):
    """How far the runs of one task remember, by architecture."""

    task: str
    """Task id."""
    cells: tuple[Reaches, ...]
    variants: tuple[Reaches, ...] = ()
    """Of ablations on this task, with their bases; `arch` is the label."""
