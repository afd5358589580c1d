"""Under which circumstances two result sets were made, and where those differ: is comparing them fair? No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from seqbench.analyse.result_sets import Entry, ResultSet
from seqbench.analyse.summary import Summary
from seqbench.files import canonical
from seqbench.presets import flat
from seqbench.records import Hardware, Provenance, Record

Sought = Literal["data", "seeds", "setting", "score", "version"]
Kind = Literal[Sought, "learning rate", "preset", "measuring", "commit", "machine", "library", "kernel"]
FAIR: tuple[Kind, ...] = get_args(Sought)
"""Unless these are the same, a difference of scores says nothing of code, machine or chance alone."""
ABSENT = "(absent)"

Values = Mapping[str, tuple[str, str]]
"""By place (a task, a cell, or "" for the whole set), what A and B have there."""


class Circumstance(Record):
    """One thing that may differ, and where it does."""

    kind: Kind
    what: str
    """The key of a setting, the name of a library, ...; empty: the kind says it."""
    a: str
    b: str
    same: bool
    """Then `what`, `a` and `b` are empty where several things were compared."""
    where: tuple[str, ...]
    """Tasks or cells in which it is so; empty: the whole set."""
    of: int
    """Tasks or cells that were compared; 1 where the whole set was."""


def circumstances(a: ResultSet, b: ResultSet, cells: Sequence[tuple[Entry, Entry]]) -> tuple[Circumstance, ...]:
    """In the order of `Kind`; of each kind all that differs, or one record that says that all is the same.

    `cells`: those that both sets have. What only summaries tell is left out where one side is a table.
    """
    places = {f"{one.task} {one.label}": (one, other) for one, other in cells}
    tasks = dict.fromkeys(one.task for one, _ in cells)

    def of_cells(tell: Any) -> Values:
        return {name: (tell(one), tell(other)) for name, (one, other) in places.items()}

    found = [
        *_compared("data", {"": {task: (_data(a, task), _data(b, task)) for task in tasks}}),
        *_compared("seeds", {"": of_cells(lambda cell: " ".join(map(str, sorted(cell.runs))))}),
    ]
    both = (a.summary, b.summary) if a.summary and b.summary else None
    if both:
        asked = {task: (_spec(both[0], task), _spec(both[1], task)) for task in tasks}
        asked = {task: specs if all(specs) else ({}, {}) for task, specs in asked.items()}
        settings = {
            name: (asked[one.task][0] | _setting(one), asked[one.task][1] | _setting(other))
            for name, (one, other) in places.items()
        }
        found += _compared("setting", _turned(settings))
    found += _compared("score", {"": of_cells(_score)})
    if both:
        versions = {name: (_version(one), _version(other)) for name, (one, other) in places.items()}
        found += _compared("version", _turned(versions))
    found += _compared("learning rate", {"": of_cells(_rates)})
    if both:
        found += _of_sets(*both)
    return tuple(found)


def unfair(found: Iterable[Circumstance]) -> list[Kind]:
    """Of the kinds that matter for scores those that differ, each once."""
    return [kind for kind in FAIR if any(one.kind == kind and not one.same for one in found)]


def _compared(kind: Kind, values: Mapping[str, Values]) -> Iterator[Circumstance]:
    """What differs, with the places that have the same two values in one record; `values` by what is compared."""
    differs = False
    for what, own in values.items():
        places: dict[tuple[str, str], list[str]] = {}
        for place, pair in own.items():
            if pair[0] != pair[1]:
                places.setdefault(pair, []).append(place)
        for (a, b), where in places.items():
            differs = True
            found = tuple(place for place in where if place)
            yield Circumstance(kind=kind, what=what, a=a, b=b, same=False, where=found, of=len(own))
    if not differs and any(values.values()):
        every = {pair[0] for own in values.values() for pair in own.values()}
        value = every.pop() if len(every) == 1 else ""
        count = len({place for own in values.values() for place in own})
        yield Circumstance(kind=kind, what="", a=value, b=value, same=True, where=(), of=count)


# ---------------------------------------------------------------- of tasks and cells


def _data(of: ResultSet, task: str) -> str:
    digests = {run.data for cell in of.cells.values() if cell.task == task for run in cell.runs.values()}
    return ", ".join(sorted(digests))


def _score(cell: Entry) -> str:
    """What ranks a cell."""
    scorers = sorted({run.scorer for run in cell.runs.values() if run.scorer})
    return ", ".join([f"{cell.metric} ({cell.direction})", *scorers])


def _rates(cell: Entry) -> str:
    return ", ".join(f"{rate:g}" for rate in sorted({run.rate for run in cell.runs.values()}))


def _version(cell: Entry) -> dict[str, str]:
    return {f"{key} file" if key != "loop" else key: str(value) for key, value in cell.versions.items()}


def _setting(cell: Entry) -> dict[str, str]:
    """All that a person may set, flat: train.steps -> 300."""
    plain = cell.setting.plain() if cell.setting else {}
    return dict(_flat({key: value for key, value in plain.items() if key not in ("task", "arch", "variant")}))


def _spec(summary: Summary, task: str) -> dict[str, str]:
    """What the task asks of a model; empty where the summary does not tell. The metric is told elsewhere."""
    found = next((one.spec.plain() for one in summary.tasks if one.id == task), {})
    return dict(_flat({"spec": {k: v for k, v in found.items() if k not in ("metric", "direction", "scorer")}}))


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in flat(values):
        yield key, value if isinstance(value, str) else canonical(value)


def _turned(given: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]]) -> dict[str, Values]:
    """From places with their keys to keys with their places."""
    keys = dict.fromkeys(key for pair in given.values() for side in pair for key in side)
    return {
        key: {
            place: (a.get(key, ABSENT), b.get(key, ABSENT)) for place, (a, b) in given.items() if key in a or key in b
        }
        for key in keys
    }


# ---------------------------------------------------------------- of whole sets


def _of_sets(a: Summary, b: Summary) -> Iterator[Circumstance]:
    """What was planned, and where and by which code the two were made."""

    def both(tell: Any) -> dict[str, Values]:
        return _turned({"": (tell(a), tell(b))})

    yield from _compared("preset", both(lambda of: {"preset": of.plan.preset, "device": of.plan.device}))
    yield from _compared("measuring", both(lambda of: dict(_flat(of.plan.measure.plain()))))
    yield from _compared("commit", both(lambda of: _said(of, _commit)))
    yield from _compared("machine", both(lambda of: _said(of, lambda made: _machine(made.hardware))))
    yield from _compared("library", both(_libraries))
    yield from _compared("kernel", both(lambda of: {"training": _joined(made.kernel for made in _training(of))}))


def _training(summary: Summary) -> list[Provenance]:
    return [made for cell in (*summary.cells, *summary.variants) for made in cell.evidence.provenances]


def _measuring(summary: Summary) -> list[Provenance]:
    return [made for many in summary.measuring.values() for made in many]


def _said(summary: Summary, tell: Any) -> dict[str, str]:
    """What the provenances say, each once, of training and of measuring."""
    return {
        "training": _joined(map(tell, _training(summary))),
        "measuring": _joined(map(tell, _measuring(summary))),
    }


def _joined(said: Iterable[str]) -> str:
    return "; ".join(sorted(set(said)))


def _commit(made: Provenance) -> str:
    return made.commit[:12] + (" with local changes" if made.dirty else "")


def _machine(of: Hardware) -> str:
    memory = f"{of.memory_bytes / 2**30:.1f} GiB"
    driver = f", driver {of.driver}" if of.driver else ""
    return f"{of.name} ({of.device}, {of.cores} cores, {memory}{driver}, {of.platform})"


def _libraries(summary: Summary) -> dict[str, str]:
    """Versions by library, of training and measuring together."""
    found: dict[str, set[str]] = {}
    for made in (*_training(summary), *_measuring(summary)):
        for name, version in made.hardware.versions.items():
            found.setdefault(name, set()).add(version)
    return {name: _joined(versions) for name, versions in sorted(found.items())}
