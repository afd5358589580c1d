"""A comparison of two result sets as text for a terminal of 80 columns, and as a table."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence

from rich.cells import cell_len

from seqbench.analyse.circumstances import Circumstance, unfair
from seqbench.analyse.cost_ratios import gathered
from seqbench.analyse.difference import Difference, Order, Side, VerdictChange
from seqbench.analyse.drift import Drift
from seqbench.analyse.findings import arrow, number, words

WIDTH = 80
NAMES = {
    "data": "data digest",
    "setting": "settings",
    "score": "scored by",
    "version": "versions",
    "measuring": "what is measured",
    "commit": "commits",
    "machine": "machines",
    "library": "libraries",
    "kernel": "kernels",
    "learning rate": "tuned rates",
}
"""Kinds of circumstances as printed, where that is not the kind."""
PLACES = {"data": "task", "preset": "set", "measuring": "set", "commit": "set", "machine": "set"}
PLACES |= {"library": "set", "kernel": "set"}
"""Where circumstances are compared, if not in cells."""
SHORT = 12
"""Digits of a digest that are printed."""


def plain(text: str) -> str:
    """Text as a terminal may have it: what it would act on or hide (escape sequences, line ends, marks) is spelled."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# ---------------------------------------------------------------- layout


def rows(cells: Iterable[Sequence[str]], right: Sequence[int] = (), indent: int = 2) -> Iterator[str]:
    """Columns aligned, those named in `right` to the right; two spaces between them. The text is made plain."""
    own: list[list[str]] = [[plain(cell) for cell in row] for row in cells]
    widths = [max(map(cell_len, column)) for column in zip(*own, strict=True)]
    for row in own:
        padded = [
            " " * (width - cell_len(cell)) + cell if place in right else cell + " " * (width - cell_len(cell))
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield " " * indent + "  ".join(padded).rstrip()


def wrapped(text: str, indent: int = 2, hang: int = 0) -> list[str]:
    """Text in lines of `WIDTH`; those after the first are moved in by `hang` more."""
    return textwrap.wrap(
        plain(text),
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hang),
        break_long_words=False,
        break_on_hyphens=False,
    )


def lines(of: Difference, everything: bool) -> Iterator[str]:
    """The whole text; `everything`: also what is equal."""
    yield from rows([("A", of.a.path, _size(of.a)), ("B", of.b.path, _size(of.b))], indent=0)
    for note in of.notes:
        yield from wrapped(f"{note}.", indent=0)
    yield ""
    yield from _circumstances(of, everything)
    for section in (_scores(of, everything), _orders(of, everything), _runs(of), _verdicts(of), _costs(of, everything)):
        body = list(section)
        if body:
            yield ""
            yield from body
    yield ""
    yield from _conclusion(of)


def _size(side: Side) -> str:
    return f"{side.cells} cells, {side.runs} runs"


def _count(n: int, word: str) -> str:
    return f"{n} {word}{'s' if n != 1 else ''}"


# ---------------------------------------------------------------- circumstances


def _circumstances(of: Difference, everything: bool) -> Iterator[str]:
    if not of.drifts:
        yield "NOTHING TO COMPARE: the two have no cell in common"
        return
    yield from wrapped(f"CIRCUMSTANCES: {_fair(of)}", indent=0, hang=2)
    for kind in dict.fromkeys(one.kind for one in of.circumstances):
        own = [one for one in of.circumstances if one.kind == kind]
        name = NAMES.get(kind, kind)
        if own[0].same:
            place = PLACES.get(kind, "cell")
            where = "" if place == "set" else f" in {_count(own[0].of, place)}"
            value = f": {_value(own[0], own[0].a)}" if everything and own[0].a else ""
            yield from wrapped(f"{name}: same{where}{value}", hang=4)
            continue
        yield f"  {name}: DIFFERENT"
        for one in own:
            head = ": ".join(filter(None, (one.what, _where(one, of.drifts))))
            a, b = _value(one, one.a), _value(one, one.b)
            line = f"{head}: {a} -> {b}" if head else f"{a} -> {b}"
            if len(plain(line)) + 4 <= WIDTH and "," not in a + b:
                yield from wrapped(line, indent=4)
            else:
                yield from wrapped(head, indent=4, hang=2)
                yield from wrapped(f"A  {a}", indent=6, hang=3)
                yield from wrapped(f"B  {b}", indent=6, hang=3)


def _fair(of: Difference) -> str:
    """Whether scores can be compared as they are. A table tells settings and versions by the keys of its runs alone."""
    other = [NAMES.get(kind, kind) for kind in unfair(of.circumstances)]
    told = any(one.kind == "version" for one in of.circumstances)
    if other:
        return f"NOT THE SAME in {words(other)}"
    if told:
        return "the same data, seeds, settings and versions"
    if of.runs.same_key == of.runs.compared:
        return "the same data, seeds, settings and versions (all keys of runs are equal)"
    count = f"{of.runs.compared - of.runs.same_key} of {of.runs.compared} runs"
    return f"the same data and seeds, but NOT THE SAME settings, rates or versions ({count} have another key)"


def _value(one: Circumstance, value: str) -> str:
    """Digests in their first digits."""
    return ", ".join(part[:SHORT] for part in value.split(", ")) if one.kind == "data" else value


def _where(one: Circumstance, drifts: Sequence[Drift]) -> str:
    """In which tasks or cells it is so; all cells of a task by the task alone."""
    place = PLACES.get(one.kind, "cell")
    if place == "set" or not one.where:
        return ""
    if len(one.where) == one.of > 1:
        return f"all {_count(one.of, place)}"
    if place == "task":
        return ", ".join(one.where)
    found = []
    for task in dict.fromkeys(drift.task for drift in drifts):
        own = [drift.arch for drift in drifts if drift.task == task]
        here = [arch for arch in own if f"{task} {arch}" in one.where]
        if here:
            found.append(task if here == own else f"{task} ({', '.join(here)})")
    return ", ".join(found)


# ---------------------------------------------------------------- scores


def _scores(of: Difference, everything: bool) -> Iterator[str]:
    verdicts = list(dict.fromkeys(one.verdict for one in sorted(of.drifts, key=lambda one: not one.differs)))
    said = [f"{sum(one.verdict == verdict for one in of.drifts)} {WORDS.get(verdict, verdict)}" for verdict in verdicts]
    yield from wrapped(f"SCORES of {_count(len(of.drifts), 'cell')}: {', '.join(said)}", indent=0, hang=2)
    for name, only in (("A", of.only_a), ("B", of.only_b)):
        if only:
            yield from wrapped(f"ONLY IN {name}: {', '.join(' '.join(one) for one in only)}", hang=2)
    shown = [one for one in of.drifts if everything or one.verdict != "equal"]
    methods = {one.method for one in shown if one.p is not None}
    if methods:
        yield from wrapped(_method(methods))
    if any(one.failed_a or one.failed_b for one in shown):
        yield "  A failed run counts as the worst score seen on the task in either set."
    for task in dict.fromkeys(one.task for one in shown):
        own = [one for one in shown if one.task == task]
        scored = " and ".join(dict.fromkeys(f"{one.metric} {arrow(one.direction)}" for one in own))
        own_methods = {one.method for one in own} - {""}
        way = ", test of Welch" if len(methods) > 1 and own_methods == {"Welch"} else ""
        yield from wrapped(f"{task}, {scored}{way}")
        head, *aligned = rows([HEAD, *map(_drift, own)], right=(1, 2, 3, 5), indent=4)
        yield head
        for one, row in zip(own, aligned, strict=True):
            yield row
            yield from wrapped("; ".join(_remarks(one, len(own_methods) > 1)), indent=6, hang=2)


def _method(methods: Collection[str]) -> str:
    """How cells are compared, as printed."""
    ways = {
        "paired": "of the differences by seed (same seeds, same data)",
        "Welch": "of Welch (other seeds or other data)",
    }
    own = " or ".join(way for method, way in ways.items() if method in methods)
    return f"p: t test {own}, with Holm's correction over all cells tested."


WORDS = {"drift": "drifted", "no finished run": "without a finished run on one side"}


HEAD = ("", "A", "B", "B - A", "95 %", "p", "")


def _remarks(one: Drift, mixed: bool) -> Iterator[str]:
    """What else must be known of a cell; `mixed`: not all of the task are tested in the same way."""
    if one.note:
        yield one.note
    if one.failed_a or one.failed_b:
        yield f"failed runs: {one.failed_a} of {one.seeds_a} in A, {one.failed_b} of {one.seeds_b} in B"
    elif one.seeds_a != one.seeds_b:
        yield f"{one.seeds_a} seeds in A, {one.seeds_b} in B"
    if one.borrowed:
        yield "its seeds agree: tested by the spread of the task's other cells"
    elif one.difference and one.interval and one.interval[0] == one.interval[1]:
        yield "the same difference in every seed"
    if mixed and one.method == "Welch":
        yield "test of Welch"


def _drift(one: Drift) -> tuple[str, ...]:
    said = f"DRIFT, {one.toward}" if one.verdict == "drift" else one.verdict
    difference, interval = _difference(one)
    return (
        one.arch,
        "-" if one.mean_a is None else number(one.mean_a),
        "-" if one.mean_b is None else number(one.mean_b),
        difference,
        interval,
        "" if one.p_holm is None else _p(one.p_holm),
        said,
    )


def _difference(one: Drift) -> tuple[str, str]:
    """The difference and its interval, with two digits of half the interval's length."""
    if one.difference is None:
        return "", ""
    if one.interval is None:
        return _signed(one.difference), ""
    low, high = one.interval
    half = (high - low) / 2
    if not half > 0:
        return _signed(one.difference), ""
    places = 1 - math.floor(math.log10(half))
    if not 0 <= places <= 7:
        return _signed(one.difference), f"[{_signed(low)}, {_signed(high)}]"
    return f"{one.difference:+.{places}f}", f"[{low:+.{places}f}, {high:+.{places}f}]"


def _signed(value: float) -> str:
    return "0" if value == 0 else f"{'+' if value > 0 else '-'}{number(abs(value))}"


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


# ---------------------------------------------------------------- ranks, runs, verdicts


def _orders(of: Difference, everything: bool) -> Iterator[str]:
    moved = [one for one in of.orders if one.moved or one.swaps]
    shown = list(of.orders) if everything else moved
    yield f"RANKS: changed on {len(moved)} of {_count(len(of.orders), 'task')}"
    if shown:
        yield "  > told from chance, ~ not told"
    for one in shown:
        yield from wrapped(f"{one.task}{'' if one.moved else ', same'}")
        yield from wrapped(f"A  {_chain(one.a, one.told_a)}", indent=4, hang=3)
        yield from wrapped(f"B  {_chain(one.b, one.told_b)}", indent=4, hang=3)
        yield from _swaps(one)


def _chain(order: Sequence[str], told: Sequence[bool]) -> str:
    return " ".join([order[0], *(f"{'>' if sure else '~'} {arch}" for sure, arch in zip(told, order[1:], strict=True))])


def _swaps(one: Order) -> Iterator[str]:
    for swap in one.swaps:
        sides = [name for name, told in (("A", swap.told_a), ("B", swap.told_b)) if told]
        said = (
            "TURNED, told from chance in both" if swap.turned else f"told in {sides[0]} alone" if sides else "not told"
        )
        yield from wrapped(f"{swap.a} before {swap.b} in A, behind it in B: {said}", indent=4, hang=2)


def _runs(of: Difference) -> Iterator[str]:
    runs = of.runs
    yield from wrapped(
        f"RUNS: {runs.compared} in both; {runs.bit_equal} equal to the bit (weights and score), "
        f"{runs.same_key} of the same key, {len(runs.status)} that ended otherwise",
        indent=0,
        hang=2,
    )
    if runs.strayed:
        yield from wrapped(f"{_count(runs.strayed, 'run')} of the same key with other weights: {_reason(of)}", hang=2)
    if runs.rescored:
        yield "  the same weights, ANOTHER SCORE:"
    for one in runs.rescored:
        yield from wrapped(f"{one.task} {one.arch} seed {one.seed}: {one.a} -> {one.b}", indent=4, hang=2)
    if runs.status:
        yield "  ended otherwise:"
    for one in runs.status:
        yield from wrapped(f"{one.task} {one.arch} seed {one.seed}: {one.a} -> {one.b}", indent=4, hang=2)


def _reason(of: Difference) -> str:
    """Why runs that should be equal may not be."""
    kinds = {one.kind for one in of.circumstances if not one.same} & {"commit", "machine", "library", "kernel"}
    if kinds:
        return f"{words([NAMES[kind] for kind in sorted(kinds)])} differ"
    if any(one.kind == "machine" for one in of.circumstances):
        return "NOT REPRODUCED, though commit, machine and libraries are the same"
    return "on the same hardware they should be equal"


TITLES = {
    "winner": "pairs of architectures",
    "control": "against the trivial control",
    "control score": "scores of controls on the same data",
    "gate": "gates",
    "claim": "claims",
    "published": "published numbers",
}


def _verdicts(of: Difference) -> Iterator[str]:
    yield f"VERDICTS: {len(of.verdicts)} changed"
    for kind in dict.fromkeys(one.kind for one in of.verdicts):
        own: list[VerdictChange] = [one for one in of.verdicts if one.kind == kind]
        yield f"  {TITLES[kind]}"
        for one in own:
            sure = " (NOTHING RANDOM IN IT)" if one.exact else " (TURNED ROUND)" if one.certain else ""
            yield from wrapped(f"{one.name}: {one.a} -> {one.b}{sure}", indent=4, hang=2)


# ---------------------------------------------------------------- costs


def _costs(of: Difference, everything: bool) -> Iterator[str]:
    if not of.costs and not of.other_machines:
        return
    outside = [one for one in of.costs if one.outside]
    yield from wrapped(
        f"COSTS of {_count(len(of.costs), 'point')} that both measured on the same machine: "
        f"{len(outside)} outside their spread",
        indent=0,
        hang=2,
    )
    if of.other_machines:
        yield from wrapped(f"on different machines, not compared: {', '.join(of.other_machines)}", hang=2)
    shown = [one for one in gathered(of.costs) if everything or one.outside]
    if not shown:
        return
    yield "  cost of B over A (above 1: B is slower or needs more): median, least to most"
    yield from rows(
        [
            (
                one.arch,
                ", ".join([one.quantity.replace("_", " "), *([one.variety] if one.variety else [])]),
                f"x {number(one.middle)}",
                f"{number(one.low)} to {number(one.high)}" if one.low != one.high else "",
                f"{one.outside} of {one.points} outside" if one.outside else "within",
                f"{one.flagged} disturbed" if one.flagged else "",
            )
            for one in shown
        ],
        right=(2,),
        indent=4,
    )


def _conclusion(of: Difference) -> Iterator[str]:
    beyond = of.beyond_noise
    if not beyond:
        yield "Nothing differs beyond noise."
    else:
        yield from wrapped(f"Beyond noise: {'; '.join(beyond)}.", indent=0, hang=2)


# ---------------------------------------------------------------- csv


COLUMNS = ("section", "task", "arch", "what", "a", "b", "difference", "low", "high", "p", "p_holm", "said")


def table(of: Difference) -> str:
    """Everything compared in one table: a row per circumstance, cell, rank, run, verdict and cost.

    `low` and `high`: of a score the 95 % interval of B minus A, of a cost the band of B over A (its `difference`).
    """
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in _table(of):
        writer.writerow(["" if v is None else plain(v) if isinstance(v, str) else v for v in row])
    return file.getvalue()


Value = str | float | int | None


def _table(of: Difference) -> Iterator[tuple[Value, ...]]:
    gap = (None,) * 5
    for one in of.circumstances:
        said = "same" if one.same else "different"
        for place in one.where or ("",):
            yield ("circumstance", place, "", f"{one.kind} {one.what}".strip(), one.a, one.b, *gap, said)
    for d in of.drifts:
        low, high = d.interval or (None, None)
        what = d.metric
        said = f"{d.verdict}, {d.toward}" if d.verdict == "drift" else d.verdict
        yield ("score", d.task, d.arch, what, d.mean_a, d.mean_b, d.difference, low, high, d.p, d.p_holm, said)
    for name, only in (("A", of.only_a), ("B", of.only_b)):
        for task, arch in only:
            yield ("score", task, arch, "", None, None, *gap, f"only in {name}")
    for order in of.orders:
        for arch in dict.fromkeys((*order.a, *order.b)):
            ranks = [side.index(arch) + 1 if arch in side else None for side in (order.a, order.b)]
            yield ("rank", order.task, arch, "", *ranks, *gap, "same" if ranks[0] == ranks[1] else "different")
    for what, runs in (("status", of.runs.status), ("score of the same weights", of.runs.rescored)):
        for run in runs:
            yield ("run", run.task, run.arch, f"{what}, seed {run.seed}", run.a, run.b, *gap, "different")
    for v in of.verdicts:
        yield ("verdict", "", "", f"{v.kind}: {v.name}", v.a, v.b, *gap, "not by chance" if v.certain else "different")
    for c in of.costs:
        what = ", ".join(filter(None, (c.quantity, c.variety, c.place, c.unit)))
        said = "outside" if c.outside else "within"
        flags = f" ({', '.join(c.flags)})" if c.flags else ""
        yield ("cost", "", c.arch, what, c.a, c.b, c.ratio, *c.band, None, None, said + flags)
