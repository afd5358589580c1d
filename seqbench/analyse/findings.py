"""Sentences and the quality-control list, made from verdicts alone: nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from seqbench.analyse.summary import Cell, Concern, Design, Finding, Pair, TaskSummary
from seqbench.files import canonical
from seqbench.records import Measured, Measurement, Quantiles

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
    """Three significant digits; powers of ten where they would take more than nine places."""
    return f"{float(f'{value:.3g}'):,.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.3g}"


def arrow(direction: str) -> str:
    """Which way is better: up or down."""
    return "↑" if direction == "max" else "↓"


def span(interval: tuple[float, float] | None) -> str:
    """An interval in brackets; nothing where there is none."""
    return f" [{number(interval[0])}, {number(interval[1])}]" if interval else ""


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count != 1 else ''}"


# ---------------------------------------------------------------- accuracy


def _design(design: Design) -> Iterator[Finding]:
    if design.comparisons and not design.testable:
        yield Finding(
            kind="design",
            text=f"Not testable with {_seeds(design.seeds)}: no pair of architectures can be called different",
            detail=f"With {_seeds(design.seeds)} a side an exact test reaches p = {number(design.smallest_p)} at best, "
            f"after Holm's correction over {design.comparisons} comparisons {number(design.smallest_p_holm)}",
            anchor="pairs",
        )


def _accuracy(task: TaskSummary, cells: Sequence[Cell], pairs: Sequence[Pair]) -> Finding:
    """One sentence on a task: the best winner and whom it beats, by how much; or that nobody clearly wins."""
    anchor = f"task-{task.id}"
    ranks = {cell.arch: cell.rank for cell in cells}
    best = min((pair.winner for pair in pairs if pair.winner), key=lambda arch: ranks[arch], default=None)
    seeds = f"{_seeds(len(cells[0].scores))} each"
    if best is None:
        means = ", ".join(f"{cell.arch} {_mean(cell)}" for cell in sorted(cells, key=lambda cell: cell.rank))
        text = f"{task.id}: no clear difference between any two architectures"
        return Finding(kind="accuracy", text=text, detail=f"{task.spec.metric} {means}; {seeds}", anchor=anchor)
    own = [pair if pair.a == best else pair.turned for pair in pairs if best in (pair.a, pair.b)]
    own.sort(key=lambda pair: ranks[pair.b])
    beaten = [pair for pair in own if pair.winner == best]
    level = [pair.b for pair in own if pair.winner is None]
    mean = _mean(next(cell for cell in cells if cell.arch == best))
    text = f"{task.id}: {best} is better than {words([pair.b for pair in beaten])}"
    if level:
        text += f"; no clear difference from {words(level)}"
    detail = (
        f"{task.spec.metric} {mean}; difference from {', '.join(map(_margin, beaten))}; "
        f"{seeds}; p ≤ {number(max(pair.p_holm for pair in beaten))}"
    )
    return Finding(kind="accuracy", text=text, detail=detail, anchor=anchor)


def _mean(cell: Cell) -> str:
    return "no finished seed" if cell.mean is None else f"{number(cell.mean)}{span(cell.interval)}"


def _margin(pair: Pair) -> str:
    if pair.difference is None:
        return f"{pair.b} unknown (no seed of it finished)"
    return f"{pair.b} {number(pair.difference)}{span(pair.interval)}"


def _controls(task: TaskSummary, cells: Sequence[Cell]) -> Iterator[Finding]:
    losers = [cell for cell in cells if cell.against_control == "no better"]
    if losers:
        verb = "is" if len(losers) == 1 else "are"
        score = number(task.trivial.metrics[task.spec.metric])
        yield Finding(
            kind="control",
            text=f"{task.id}: {words([cell.arch for cell in losers])} {verb} no better than {task.trivial.name}",
            detail=f"{task.spec.metric} {', '.join(f'{cell.arch} {_mean(cell)}' for cell in losers)}; "
            f"the control {score}; {_seeds(len(cells[0].scores))} each",
            anchor=f"task-{task.id}",
        )


# ---------------------------------------------------------------- cost


def points(one: Measured, quantity: str) -> list[Measurement]:
    """The measurements of a quantity that have a value, by length."""
    found = [m for m in one.measurements if m.quantity == quantity and m.value is not None]
    return sorted(found, key=lambda m: m.length)


def _common(measured: Sequence[Measured], quantity: str) -> dict[str, dict[int, Measurement]]:
    """Points of each architecture at the lengths all of them reached; empty on mixed hardware."""
    series = {one.arch: {m.length: m for m in points(one, quantity)} for one in measured}
    if len({canonical(one.provenance.hardware.plain()) for one in measured}) != 1:
        return {}
    shared = set.intersection(*(set(of) for of in series.values()))
    return {arch: {n: of[n] for n in sorted(shared)} for arch, of in series.items()} if shared else {}


def _speed(measured: Sequence[Measured]) -> Iterator[Finding]:
    """The fastest architecture in training at the longest common length, against each of the others."""
    common = _common(measured, "train")
    if len(common) < 2:
        return
    at = {arch: of[max(of)] for arch, of in common.items()}
    first, *others = sorted(at, key=lambda arch: -_quantiles(at[arch]).median)
    top = _quantiles(at[first])
    ratios = [
        f"{number(top.median / low.median)} times {arch}{span((top.q25 / low.q75, top.q75 / low.q25))}"
        for arch, low in ((arch, _quantiles(at[arch])) for arch in others)
    ]
    shaky = "; contended: the machine was not quiet" if any(CONTENDED in m.flags for m in at.values()) else ""
    yield Finding(
        kind="cost",
        text=f"At length {at[first].length}, {first} had the highest median training throughput",
        detail=f"{number(top.median)} tokens/s as measured on {measured[0].provenance.hardware.name}: "
        f"{', '.join(ratios)}; brackets: the ratio from the outer quartiles{shaky}",
        anchor="cost",
    )


def _quantiles(measurement: Measurement) -> Quantiles:
    assert measurement.value is not None  # `points` leaves the others out
    return measurement.value


def _memory(measured: Sequence[Measured]) -> Iterator[Finding]:
    """How peak training memory grows from the shortest to the longest common length."""
    common = _common(measured, "train_memory")
    lengths = sorted({n for of in common.values() for n in of})
    if len(lengths) < 2:
        return
    short, long = lengths[0], lengths[-1]
    grown = {arch: _quantiles(of[long]).median / _quantiles(of[short]).median for arch, of in common.items()}
    ends = words(list(dict.fromkeys([number(min(grown.values())), number(max(grown.values()))])))
    between = "between " if " and " in ends else ""
    yield Finding(
        kind="cost",
        text=f"From length {short} to {long} ({number(long / short)} times), peak training memory grows "
        f"{between}{ends} times",
        detail=f"{', '.join(f'{arch} {number(ratio)} times' for arch, ratio in grown.items())}, "
        f"as measured on {measured[0].provenance.hardware.name}",
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
    for quantity in dict.fromkeys(m.quantity for m in one.measurements):
        own = [m for m in one.measurements if m.quantity == quantity]
        noisy = [str(m.length) for m in own if CONTENDED in m.flags]
        if noisy:
            text = f"{quantity} at {words(noisy)} steps: the machine was not quiet"
            yield Concern(kind="contended", text=text, arch=one.arch)
        for status in dict.fromkeys(m.status for m in own if m.status != "ok"):
            failed = [str(m.length) for m in own if m.status == status]
            text = f"{quantity} at {words(failed)} steps: {status}"
            yield Concern(kind="measurement", text=text, arch=one.arch)
    if one.provenance.dirty:
        yield Concern(kind="dirty", text="measured from a commit with local changes", arch=one.arch)


def _hardware(what: str, fingerprints: Sequence[dict[str, object]]) -> Iterator[Concern]:
    kinds = {canonical(fingerprint) for fingerprint in fingerprints}
    if len(kinds) > 1:
        yield Concern(kind="hardware", text=f"{what} come from {len(kinds)} different machines or library versions")
