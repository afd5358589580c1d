"""Sentences and the quality-control list, made from verdicts alone: nothing is decided here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from seqbench.analyse.summary import Cell, Concern, Design, Finding, Pair, TaskSummary
from seqbench.files import canonical
from seqbench.records import Measured, Measurement

CONTENDED = "contended"


def findings(
    tasks: Sequence[TaskSummary],
    cells: Sequence[Cell],
    pairs: Sequence[Pair],
    design: Design,
    measured: Sequence[Measured],
) -> tuple[Finding, ...]:
    """What the page says in words, in its order: what was tested, accuracy, controls, cost."""
    sentences = list(_design(design))
    for task in tasks:
        own = [cell for cell in cells if cell.task == task.id]
        if design.testable:
            sentences.append(_accuracy(task, own, [pair for pair in pairs if pair.task == task.id]))
        sentences += _controls(task, own)
    return (*sentences, *_speed(measured), *_memory(measured))


def words(names: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def number(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}" if abs(value) < 1e3 else f"{float(f'{value:.3g}'):,.0f}"


def span(interval: tuple[float, float] | None) -> str:
    """An interval in brackets; nothing where there is none."""
    return f" [{number(interval[0])}, {number(interval[1])}]" if interval else ""


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count != 1 else ''}"


# ---------------------------------------------------------------- accuracy


def _design(design: Design) -> Iterator[Finding]:
    if not design.comparisons:
        return
    reach = (
        f"{_seeds(design.seeds)} per architecture and {design.comparisons} comparisons: the smallest p "
        f"that an exact test can reach after Holm's correction is {number(design.smallest_p_holm)}"
    )
    if not design.testable:
        text = f"Not testable with {_seeds(design.seeds)}: no pair of architectures can be called different. {reach}."
        yield Finding(kind="design", text=text, anchor="pairs")


def _accuracy(task: TaskSummary, cells: Sequence[Cell], pairs: Sequence[Pair]) -> Finding:
    """One sentence on a task: the best winner and whom it beats, by how much; or that nobody clearly wins."""
    ranks = {cell.arch: cell.rank for cell in cells}
    best = min((pair.winner for pair in pairs if pair.winner), key=lambda arch: ranks[arch], default=None)
    seeds = f"{_seeds(len(cells[0].scores))} each"
    if best is None:
        text = f"{task.id}: no clear difference between any two architectures in {task.spec.metric} ({seeds})."
        return Finding(kind="accuracy", text=text, anchor=f"task-{task.id}")
    own = [pair if pair.a == best else pair.turned for pair in pairs if best in (pair.a, pair.b)]
    own.sort(key=lambda pair: ranks[pair.b])
    beaten = [pair for pair in own if pair.winner == best]
    level = [pair.b for pair in own if pair.winner is None]
    mean = _mean(next(cell for cell in cells if cell.arch == best))
    text = (
        f"{task.id}: {best} is better than {words([_margin(pair) for pair in beaten])} "
        f"in {task.spec.metric} ({mean}; {seeds}; p ≤ {number(max(pair.p_holm for pair in beaten))})"
        f"{'; no clear difference from ' + words(level) if level else ''}."
    )
    return Finding(kind="accuracy", text=text, anchor=f"task-{task.id}")


def _mean(cell: Cell) -> str:
    return "no mean" if cell.mean is None else f"mean {number(cell.mean)}{span(cell.interval)}"


def _margin(pair: Pair) -> str:
    """The loser, and by how much it loses."""
    if pair.difference is None:
        return f"{pair.b} (no seed of which finished)"
    return f"{pair.b} (difference {number(pair.difference)}{span(pair.interval)})"


def _controls(task: TaskSummary, cells: Sequence[Cell]) -> Iterator[Finding]:
    losers = [f"{cell.arch} ({_mean(cell)})" for cell in cells if cell.against_control == "no better"]
    if losers:
        score = number(task.trivial.metrics[task.spec.metric])
        verb = "is" if len(losers) == 1 else "are"
        yield Finding(
            kind="control",
            text=f"{task.id}: {words(losers)} {verb} no better than the control {task.trivial.name} "
            f"({task.spec.metric} {score}; {_seeds(len(cells[0].scores))}).",
            anchor=f"task-{task.id}",
        )


# ---------------------------------------------------------------- cost


def points(one: Measured, quantity: str) -> list[Measurement]:
    """The measurements of a quantity that have a value, by length, at the batch size measured most often."""
    found = [m for m in one.measurements if m.quantity == quantity and m.value is not None]
    batches = Counter(m.batch for m in found).most_common(1)
    constant = [m for m in found if m.batch == batches[0][0]]
    return sorted(constant if len(constant) > 1 else found, key=lambda m: m.length)


def _comparable(measured: Sequence[Measured]) -> bool:
    return len({canonical(one.provenance.hardware.plain()) for one in measured}) == 1


def _speed(measured: Sequence[Measured]) -> Iterator[Finding]:
    """The fastest architecture in training at the longest common length, against each of the others."""
    series = {one.arch: {m.length: m for m in points(one, "train")} for one in measured}
    common = set.intersection(*(set(of) for of in series.values())) if series else set()
    if len(series) < 2 or not common or not _comparable(measured):
        return
    length = max(common)
    at = {arch: of[length] for arch, of in series.items()}
    order = sorted(at, key=lambda arch: -_median(at[arch]))
    ratios = [
        f"{number(_median(at[order[0]]) / _median(at[arch]))} times {arch}{_ratio(at, order[0], arch)}"
        for arch in order[1:]
    ]
    shaky = (
        " (contended: taken on a machine that was not quiet)" if any(CONTENDED in m.flags for m in at.values()) else ""
    )
    yield Finding(
        kind="cost",
        text=f"Training throughput at length {length}, as measured on {measured[0].provenance.hardware.name}: "
        f"{order[0]} {number(_median(at[order[0]]))} tokens/s, {words(ratios)}{shaky}. "
        "In brackets: the ratio from the outer quartiles.",
        anchor="cost",
    )


def _median(measurement: Measurement) -> float:
    assert measurement.value is not None  # `points` leaves the others out
    return measurement.value.median


def _ratio(at: dict[str, Measurement], a: str, b: str) -> str:
    top, bottom = at[a].value, at[b].value
    assert top is not None and bottom is not None
    return span((top.q25 / bottom.q75, top.q75 / bottom.q25))


def _memory(measured: Sequence[Measured]) -> Iterator[Finding]:
    """How peak training memory grows from the shortest to the longest measured length."""
    grown = []
    for one in measured:
        series = points(one, "train_memory")
        if len(series) > 1:
            first, last = series[0], series[-1]
            grown.append(
                f"{one.arch} {number(_median(last) / _median(first))} times "
                f"for {number(last.length / first.length)} times the length"
            )
    if grown and _comparable(measured):
        yield Finding(
            kind="cost",
            text=f"Peak memory of a training step grows, as measured on {measured[0].provenance.hardware.name}: "
            f"{words(grown)}.",
            anchor="cost",
        )


# ---------------------------------------------------------------- quality control


def concerns(tasks: Sequence[TaskSummary], cells: Sequence[Cell], measured: Sequence[Measured]) -> tuple[Concern, ...]:
    """What a careful reader would ask about: failures, borders, beaten by a control, noise, mixed machines."""
    names = {task.id: task.trivial.name for task in tasks}
    found = [concern for cell in cells for concern in _of_cell(cell, names[cell.task])]
    for one in measured:
        found += _of_measured(one)
    found += _hardware("training runs", [p.hardware.plain() for c in cells for p in c.evidence.provenances])
    found += _hardware("measurements", [one.provenance.hardware.plain() for one in measured])
    return tuple(found)


def _of_cell(cell: Cell, control: str) -> Iterator[Concern]:
    place = {"task": cell.task, "arch": cell.arch}
    for result in cell.runs:
        if result.status != "ok":
            reason = f": {result.reason}" if result.reason else ""
            yield Concern(kind="failed", text=f"seed {result.seed} ended as {result.status}{reason}", **place)
    if cell.evidence.tuned.border:
        rate = number(cell.evidence.tuned.learning_rate)
        yield Concern(kind="border", text=f"the best learning rate, {rate}, is on the edge of the search", **place)
    if cell.against_control == "no better":
        yield Concern(kind="control", text=f"no better than the control {control}", **place)
    if any(provenance.dirty for provenance in cell.evidence.provenances):
        yield Concern(kind="dirty", text="made from a commit with local changes", **place)


def _of_measured(one: Measured) -> Iterator[Concern]:
    for m in one.measurements:
        what = f"{m.quantity} at length {m.length}, batch {m.batch}"
        if CONTENDED in m.flags:
            yield Concern(kind="contended", text=f"{what}: the machine was not quiet", arch=one.arch)
        if m.status != "ok":
            yield Concern(kind="measurement", text=f"{what}: {m.status}", arch=one.arch)
    if one.provenance.dirty:
        yield Concern(kind="dirty", text="measured from a commit with local changes", arch=one.arch)


def _hardware(what: str, fingerprints: Sequence[dict[str, object]]) -> Iterator[Concern]:
    kinds = {canonical(fingerprint) for fingerprint in fingerprints}
    if len(kinds) > 1:
        yield Concern(kind="hardware", text=f"{what} come from {len(kinds)} different machines or library versions")
