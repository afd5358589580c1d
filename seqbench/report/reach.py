"""How far architectures remember: horizons, longer sequences, levels held, bits recalled, gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from seqbench.analyse.findings import arrow, number, span
from seqbench.analyse.summary import Horizon, Mean, Stretch, Summary, TaskSummary
from seqbench.measurements import Measurement
from seqbench.report.charts import Axis, Dot, Style, decades, draw
from seqbench.report.figures import Charts, Entry, Figure, Row, Table, above, apart, first, log_scale, scored

KINDS: tuple[tuple[Literal["gradient", "intervention"], bool], ...] = (
    *(("intervention", True), ("intervention", False)),
    *(("gradient", True), ("gradient", False)),
)

# ---------------------------------------------------------------- horizons


def horizons(summary: Summary, looks: dict[str, Style]) -> Charts:
    """Effect of an input against its lag, once trained, for the first tasks where it was measured."""
    drawn = [h for h in summary.horizons if (h.kind, h.trained) == ("intervention", True)]
    by_task = [(task, [h for h in drawn if h.task == task.id]) for task in summary.tasks]
    return first([(task, own) for task, own in by_task if own], lambda one: _horizon(*one, looks))


def _horizon(task: TaskSummary, own: Sequence[Horizon], looks: dict[str, Style]) -> Figure:
    dots = [
        Dot(h.arch, lag, y, low, high, "")
        for h in own
        for lag, y, low, high in zip(h.lags, h.effects, h.low, h.high, strict=True)
    ]
    lags = sorted({lag for h in own for lag in h.lags})
    svg = draw(
        dots,
        looks,
        Axis("lag (steps)", log=True, ticks=_ticks(lags[-1]), format="~s" if lags[-1] > 9999 else "d", zero=True),
        Axis("effect, of the largest"),
        label=f"Effect of an input on the answer against its lag on {task.id}, one line per architecture",
        spread="band",
        points=False,
        reference=[(lags[0], 0.5), (lags[-1], 0.5)],
    )
    at = {(h.arch, lag): effect for h in own for lag, effect in zip(h.lags, h.effects, strict=True)}
    rows = [[str(lag), *(number(at[arch, lag]) if (arch, lag) in at else "–" for arch in looks)] for lag in lags]
    caption = "Median over seeds, each relative to its largest effect; the band spans the seeds. Dotted: one half."
    return Figure(task.id, caption, svg, ["lag", *looks], rows)


def _ticks(last: int) -> tuple[float, ...]:
    return (0.0, *decades([1.0, float(max(last, 2))])) if last > 60 else (0.0, 1, 2, 5, 10, 20, 50)


def horizon_table(summary: Summary) -> Table:
    """The horizon of each cell, by kind, before and after training."""
    of = {(h.task, h.arch, h.kind, h.trained): h for h in summary.horizons}
    rows: list[Row] = []
    for one in summary.reaches:
        found = [of.get((one.task, one.arch, *kind)) for kind in KINDS]
        first = Entry(one.arch, one.task, f"not measured: {one.skipped}" if one.skipped else "")
        rows.append([first, *map(_lag, found)])
    head = ["Cell", *(f"{kind}, {'trained' if trained else 'untrained'}" for kind, trained in KINDS)]
    return Table("Horizon in steps: the lag from which on the effect stays below half of its largest", head, rows)


def _lag(h: Horizon | None) -> str | Entry:
    if h is None or h.horizon is None:
        return "–"
    if h.beyond == h.seeds:
        return f"beyond {h.lags[-1]:,}"
    at_least = "at least " if h.beyond else ""
    sub = f"{h.beyond} of {h.seeds} seeds beyond {h.lags[-1]:,}" if h.beyond else ""
    return Entry(f"{at_least}{number(h.horizon)}{apart(h.interval)}", sub)


# ---------------------------------------------------------------- longer sequences


def stretches(summary: Summary, looks: dict[str, Style]) -> Charts:
    """Score against length from the trained one up, for the first tasks where longer sequences were scored."""
    by_task = [(task, [s for s in summary.stretches if s.task == task.id]) for task in summary.tasks]
    known = [(task, own) for task, own in by_task if any(s.mean is not None for s in own)]
    return first(known, lambda one: _stretch(summary, *one, looks))


def _stretch(summary: Summary, task: TaskSummary, own: Sequence[Stretch], looks: dict[str, Style]) -> Figure:
    dots = [
        _dot(arch, length, mean)
        for arch in looks
        for length, mean in _scores(summary, own, arch).items()
        if mean is not None
    ]
    y = scored(f"{task.spec.metric} {arrow(task.spec.direction)}", [dot.y for dot in dots])
    svg = draw(
        above(dots, y),
        looks,
        Axis("length (steps)", log=True, ticks=tuple(sorted({float(dot.x) for dot in dots})), format="~s"),
        y,
        label=f"{task.spec.metric} on {task.id} against length, one line per architecture",
    )
    better = "Higher" if task.spec.direction == "max" else "Lower"
    caption = f"Trained at the shortest length; mean over seeds with 95 % interval. {better} is better."
    caption += f" {log_scale(dots)}" if y.log else ""
    return Figure(task.id, caption, svg, (), ())


def _dot(arch: str, length: int, mean: Mean) -> Dot:
    low, high = mean.interval or (mean.mean, mean.mean)
    return Dot(arch, length, mean.mean, low, high, f"{arch}, {length}: {number(mean.mean)}{span(mean.interval)}")


def _scores(summary: Summary, own: Sequence[Stretch], arch: str) -> dict[int, Mean | None]:
    """Of one cell by length: on the test split at the trained one, then beyond."""
    found: dict[int, Mean | None] = {}
    for s in own:
        if s.arch == arch:
            cell = summary.cell(s.task, arch)
            if cell.mean is not None:
                found[s.trained_length] = Mean(mean=cell.mean, interval=cell.interval, seeds=cell.finished)
            found[s.length] = None if s.mean is None else Mean(mean=s.mean, interval=s.interval, seeds=s.seeds)
    return found


def stretch_table(summary: Summary) -> Table:
    """One row per task and length, one column per architecture."""
    rows: list[Row] = []
    for task in summary.tasks:
        own = [s for s in summary.stretches if s.task == task.id]
        by_arch = {arch: _scores(summary, own, arch) for arch in summary.plan.architectures}
        trained = {s.trained_length for s in own}
        for length in sorted({length for of in by_arch.values() for length in of}):
            where = f"{task.spec.metric} {arrow(task.spec.direction)}, {task.id}"
            first = Entry(f"{length:,} steps{', as trained' if length in trained else ''}", where)
            rows.append([first, *(_score(summary, task.id, arch, length, of) for arch, of in by_arch.items())])
    return Table("Scores at the trained length and beyond", ["Length", *summary.plan.architectures], rows)


def _score(summary: Summary, task: str, arch: str, length: int, of: dict[int, Mean | None]) -> str | Entry:
    if length not in of:
        return "–"
    mean = of[length]
    if mean is None:
        return Entry(warn="cannot read so many steps")
    all_seeds = len(summary.cell(task, arch).scores)
    return Entry(f"{number(mean.mean)}{span(mean.interval)}", f"{mean.seeds}/{all_seeds}" * (mean.seeds < all_seeds))


# ---------------------------------------------------------------- levels held, bits recalled


def held(summary: Summary) -> list[tuple[str, list[str]]]:
    """For each task at several levels, up to which of them each architecture holds it, in words."""
    found: dict[str, list[str]] = {}
    for one in summary.held:
        metric = next(task.spec.metric for task in summary.tasks if task.name == one.task)
        found.setdefault(one.task, []).append(f"{one.text} ({metric} {number(one.reference)})")
    return list(found.items())


def recall_table(summary: Summary) -> Table:
    """Bits that the answers recall, and per byte of state; none: no task asks for symbols."""
    rows: list[Row] = [
        [
            Entry(one.arch, one.task),
            f"{number(one.bits)}{span(one.interval)}",
            f"{one.state_bytes:,}",
            number(one.per_byte),
            str(one.seeds),
        ]
        for one in summary.recalls
    ]
    head = ["Cell", "Bits recalled of a sequence", "State, bytes", "Bits per byte", "Seeds"]
    return Table("Bits that the answers recall of a sequence, against the state that carries them", head, rows)


# ---------------------------------------------------------------- gradients


def gradient(summary: Summary, looks: dict[str, Style]) -> list[Figure]:
    """Gradient norm against lag at initialisation, where it was counted."""
    of = {one.arch: [m for m in one.measurements if m.quantity == "gradient"] for one in summary.counted}
    dots = [dot for arch, many in of.items() for m in many if (dot := _norm(arch, m))]
    if not dots:
        return []
    svg = draw(
        dots,
        looks,
        Axis("lag (steps)", format="d"),
        Axis("norm", log=True, ticks=decades([edge for dot in dots for edge in (dot.low, dot.high)]), format=".0e"),
        label="Gradient norm by lag against lag, one line per architecture",
        points=False,
        spread="band",
    )
    at = {(arch, m.length): m for arch, many in of.items() for m in many}
    lags = sorted({lag for _, lag in at})
    rows = [[str(lag), *(_norm_words(at.get((arch, lag))) for arch in of)] for lag in lags]
    caption = (
        "Norm of the gradient of the last step's loss with respect to the input that many steps before, at "
        "initialisation: median with quartiles over seeds, log scale. Zeros are in the table only."
    )
    return [Figure("Gradient norm by lag", caption, svg, ["lag", *(f"{arch} (norm)" for arch in of)], rows)]


def _norm(arch: str, m: Measurement) -> Dot | None:
    if m.value is None or m.value.median <= 0:
        return None
    low = m.value.q25 if m.value.q25 > 0 else m.value.median
    return Dot(arch, m.length, m.value.median, low, m.value.q75, "")


def _norm_words(m: Measurement | None) -> str:
    if m is None:
        return "–"
    if m.value is None:
        return m.status.replace("_", " ")
    return number(m.value.median) + (span((m.value.q25, m.value.q75)) if m.value.repetitions > 1 else "")
