"""Two result sets compared: circumstances, scores, ranks, runs, verdicts, costs. No torch.

`circumstances` says whether comparing is fair, `drift` decides on scores, `cost_ratios` on times and bytes. Nothing is
decided anew: verdicts are those of each side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Literal, get_args

from seqbench.analyse.circumstances import ABSENT, Circumstance, circumstances
from seqbench.analyse.cost_ratios import CostRatio, cost_ratios
from seqbench.analyse.drift import Drift, Verdict, drifts
from seqbench.analyse.result_sets import Entry, Name, ResultSet, without_variants
from seqbench.analyse.summary import Summary, TaskSummary
from seqbench.records import Record

ROUNDING = 1e-6
"""Relative: scores of the same weights that differ by less were rounded otherwise on another machine."""
SOME = 5
"""So many names stand in the last sentence."""
OPPOSITES = ({"supported", "refuted"}, {"reproduced", "not reproduced"})
"""Verdicts that contradict each other; all others may change where chance moves a number over a limit."""


class Side(Record):
    """One of the two."""

    path: str
    form: Literal["summary", "table"]
    cells: int
    runs: int


class Swap(Record):
    """Two architectures whose order is another one; each side says whether it can be told from chance."""

    a: str
    """The better one in A."""
    b: str
    """The better one in B."""
    told_a: bool
    told_b: bool

    @property
    def turned(self) -> bool:
        """Told in both, and the other way round."""
        return self.told_a and self.told_b


class Order(Record):
    """The ranking of one task on both sides, best first."""

    task: str
    a: tuple[str, ...]
    b: tuple[str, ...]
    told_a: tuple[bool, ...]
    """Of each but the last: whether it is better than the next by more than chance."""
    told_b: tuple[bool, ...]
    swaps: tuple[Swap, ...]

    @property
    def moved(self) -> dict[str, tuple[int, int]]:
        """Ranks in A and in B of the architectures whose rank is another one."""
        places = {arch: (self.a.index(arch) + 1, self.b.index(arch) + 1) for arch in self.a if arch in self.b}
        return {arch: (a, b) for arch, (a, b) in places.items() if a != b}


class RunChange(Record):
    """One run that is not what it should be in both."""

    task: str
    arch: str
    seed: int
    a: str
    b: str


class RunCount(Record):
    """The runs that both have: of the same task, architecture and seed."""

    compared: int
    same_key: int
    """Same setting, learning rate, seed, data and versions."""
    bit_equal: int
    """Weights equal by their hash, and the score."""
    strayed: int
    """Of the same key, yet other weights: other hardware or libraries may do that, the same must not."""
    status: tuple[RunChange, ...]
    """Ended otherwise."""
    rescored: tuple[RunChange, ...]
    """The same weights with another score: whatever computes the score has changed."""


class VerdictChange(Record):
    """Something that was decided otherwise."""

    kind: Literal["winner", "control", "control score", "gate", "claim", "published"]
    name: str
    a: str
    b: str
    certain: bool
    """More than chance: the two contradict each other, or nothing random is in what they rest on (`exact`)."""
    exact: bool = False


class Difference(Record):
    """All that was compared, equal or not."""

    a: Side
    b: Side
    circumstances: tuple[Circumstance, ...]
    drifts: tuple[Drift, ...]
    only_a: tuple[Name, ...]
    """Cells."""
    only_b: tuple[Name, ...]
    orders: tuple[Order, ...]
    runs: RunCount
    verdicts: tuple[VerdictChange, ...]
    costs: tuple[CostRatio, ...]
    other_machines: tuple[str, ...]
    """What both measured, but not on the same machine."""
    notes: tuple[str, ...]
    """What could not be compared, and why."""

    @property
    def beyond_noise(self) -> tuple[str, ...]:
        """What differs by more than chance, in words; empty: nothing does. Circumstances and times do not count."""
        return tuple(_beyond(self))


def compare(a: ResultSet, b: ResultSet) -> Difference:
    """Two result sets; where one is a table of runs, as far as that tells."""
    notes = list(_notes(a, b))
    if a.summary is None or b.summary is None:
        a, b = without_variants(a), without_variants(b)
    pairs = [(cell, b.cells[name]) for name, cell in a.cells.items() if name in b.cells]
    both = (a.summary, b.summary) if a.summary and b.summary else None
    costs, apart = cost_ratios(*both) if both else ((), ())
    return Difference(
        a=_side(a),
        b=_side(b),
        circumstances=circumstances(a, b, pairs),
        drifts=drifts(pairs, _trivial(a, b)),
        only_a=tuple(name for name in a.cells if name not in b.cells),
        only_b=tuple(name for name in b.cells if name not in a.cells),
        orders=tuple(order for task in a.tasks if task in b.tasks if (order := _order(task, a, b))),
        runs=_runs(pairs),
        verdicts=(*_winners(a, b), *(_verdicts(*both) if both else ())),
        costs=costs,
        other_machines=apart,
        notes=tuple(notes),
    )


def _side(of: ResultSet) -> Side:
    form: Literal["summary", "table"] = "summary" if of.summary else "table"
    return Side(path=str(of.path), form=form, cells=len(of.cells), runs=of.runs)


def _notes(a: ResultSet, b: ResultSet) -> Iterator[str]:
    tables = [name for name, one in (("A", a), ("B", b)) if one.summary is None]
    if tables:
        what = "A and B are tables" if len(tables) == 2 else f"{tables[0]} is a table"
        yield (
            f"{what} of runs: settings, versions, machines, gates, claims and costs are not compared, nor are cells "
            "beside the grid"
        )


def _trivial(a: ResultSet, b: ResultSet) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = {}
    for of in (a.summary, b.summary):
        for task in of.tasks if of else ():
            scores = [one.metrics[task.spec.metric] for one in task.controls if one.kind == "trivial"]
            found.setdefault((task.id, task.spec.metric), []).extend(scores)
    return found


# ---------------------------------------------------------------- ranks and runs


def _order(task: str, a: ResultSet, b: ResultSet) -> Order | None:
    """None where a side ranks nobody: the task is beside its grid."""
    left, right = a.order(task), b.order(task)
    if not (left and right):
        return None
    common = [arch for arch in left if arch in right]
    swaps = [
        Swap(a=one, b=two, told_a=_told(a, task, one, two), told_b=_told(b, task, two, one))
        for one, two in combinations(common, 2)
        if right.index(two) < right.index(one)
    ]
    return Order(
        task=task,
        a=tuple(left),
        b=tuple(right),
        told_a=tuple(_told(a, task, one, two) for one, two in pairwise(left)),
        told_b=tuple(_told(b, task, one, two) for one, two in pairwise(right)),
        swaps=tuple(swaps),
    )


def _told(of: ResultSet, task: str, better: str, worse: str) -> bool:
    return of.winners.get((task, frozenset((better, worse)))) == better


def _runs(pairs: Sequence[tuple[Entry, Entry]]) -> RunCount:
    runs = [(a, one, b.runs[seed]) for a, b in pairs for seed, one in a.runs.items() if seed in b.runs]

    def change(cell: Entry, seed: int, a: str, b: str) -> RunChange:
        return RunChange(task=cell.task, arch=cell.label, seed=seed, a=a, b=b)

    same = [(cell, one, two) for cell, one, two in runs if one.weights and one.weights == two.weights]
    rescored = [
        change(cell, one.seed, f"{one.score:.9g}", f"{two.score:.9g}")
        for cell, one, two in same
        if one.score is not None and two.score is not None
        if one.data == two.data and abs(one.score - two.score) > ROUNDING * max(abs(one.score), abs(two.score))
    ]
    return RunCount(
        compared=len(runs),
        same_key=sum(one.key == two.key for _, one, two in runs),
        bit_equal=sum((one.status, one.score) == (two.status, two.score) for _, one, two in same),
        strayed=sum(one.key == two.key and one.weights != two.weights for _, one, two in runs),
        status=tuple(change(c, one.seed, one.status, two.status) for c, one, two in runs if one.status != two.status),
        rescored=tuple(rescored),
    )


# ---------------------------------------------------------------- verdicts


def _winners(a: ResultSet, b: ResultSet) -> Iterator[VerdictChange]:
    for key, left in a.winners.items():
        if key in b.winners and b.winners[key] != left:
            right = b.winners[key]
            name = f"{key[0]}: {' and '.join(sorted(key[1]))}"
            yield VerdictChange(
                kind="winner", name=name, a=_winner(left), b=_winner(right), certain=bool(left and right)
            )


def _winner(arch: str | None) -> str:
    return f"{arch} better" if arch else "not told"


def _verdicts(a: Summary, b: Summary) -> Iterator[VerdictChange]:
    """Verdicts of everything but pairs."""
    yield from _changed("control", _against(a), _against(b))
    for task in a.tasks:
        other = next((one for one in b.tasks if one.id == task.id), None)
        if other and (other.data_digest, other.spec.metric) == (task.data_digest, task.spec.metric):
            yield from _control_scores(task, other)
    yield from _changed("gate", _gates(a), _gates(b), exact=True)
    yield from _changed("claim", _claims(a), _claims(b))
    yield from _changed("published", _published(a), _published(b))


def _changed(
    kind: Literal["control", "gate", "claim", "published"],
    a: Mapping[str, str],
    b: Mapping[str, str],
    exact: bool = False,
) -> Iterator[VerdictChange]:
    """What was decided otherwise. Of a register also what one side alone has; cells and models are told elsewhere."""
    for name in dict.fromkeys((*a, *b)):
        both = name in a and name in b
        left, right = a.get(name, ABSENT), b.get(name, ABSENT)
        if left != right and (both or kind in ("claim", "published")):
            sure = both and (exact or {left, right} in OPPOSITES)
            yield VerdictChange(kind=kind, name=name, a=left, b=right, certain=sure, exact=exact)


def _against(of: Summary) -> dict[str, str]:
    """Of the cells whether they beat the trivial control."""
    return {f"{cell.task} {cell.arch}": f"{cell.against_control}" for cell in of.cells}


def _gates(of: Summary) -> dict[str, str]:
    return {
        f"{gates.arch}: {check.gate} in '{check.model}'": "passed" if check.passed else "failed"
        for gates in of.gates
        for check in gates.checks
    }


def _claims(of: Summary) -> dict[str, str]:
    return {f"{claim.number} {claim.title}: {claim.part}": claim.verdict for claim in of.claims}


def _published(of: Summary) -> dict[str, str]:
    return {row.name: row.verdict for row in of.ledger}


def _control_scores(a: TaskSummary, b: TaskSummary) -> Iterator[VerdictChange]:
    """Controls have no seed: on the same data they give the same score."""
    metric = a.spec.metric
    others = {control.name: control.metrics[metric] for control in b.controls}
    for control in a.controls:
        left, right = control.metrics[metric], others.get(control.name)
        if right is not None and abs(left - right) > ROUNDING * max(abs(left), abs(right)):
            name = f"{a.id}: {control.name}"
            scores = {"a": f"{left:.9g}", "b": f"{right:.9g}"}
            yield VerdictChange(kind="control score", name=name, **scores, certain=True, exact=True)


# ---------------------------------------------------------------- what counts


def _beyond(of: Difference) -> Iterator[str]:
    """One sentence for each kind of difference."""
    for name, only in (("A", of.only_a), ("B", of.only_b)):
        if only:
            yield f"{_count(len(only), 'cell')} only in {name}: {_some([' '.join(one) for one in only])}"
    by = {verdict: [one for one in of.drifts if one.verdict == verdict] for verdict in get_args(Verdict)}
    if drifted := by["drift"]:
        cells = [f"{one.task} {one.arch} ({one.toward})" for one in drifted]
        yield f"{_count(len(drifted), 'cell')} drifted: {_some(cells)}"
    for verdict, said in (
        ("not comparable", "ranked by another metric"),
        ("no finished run", "with finished runs on one side only"),
    ):
        if own := by[verdict]:
            yield f"{_count(len(own), 'cell')} {said}: {_some([f'{one.task} {one.arch}' for one in own])}"
    if of.runs.rescored:
        yield f"{_count(len(of.runs.rescored), 'run')} with the same weights and another score"
    if certain := [f"{one.name} ({one.a} -> {one.b})" for one in of.verdicts if one.certain]:
        yield f"{_count(len(certain), 'verdict')} turned round, or changed with nothing random in it: {_some(certain)}"
    if exact := [one for one in of.costs if one.exact and one.outside]:
        of_archs = list(dict.fromkeys(one.arch for one in exact))
        yield f"{_count(len(exact), 'count')} of bytes that differ: {_some(of_archs)}"


def _count(n: int, word: str) -> str:
    return f"{n} {word}{'s' if n != 1 else ''}"


def _some(names: Sequence[str]) -> str:
    """The first few; the rest stands in its section."""
    more = [f"and {len(names) - SOME} more"] if len(names) > SOME else []
    return ", ".join([*names[:SOME], *more])
