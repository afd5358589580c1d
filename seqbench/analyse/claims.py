"""The register of claims: folklore as hypotheses with margins declared beforehand, and what the runs decide. No torch.

How a claim is written, and the rule: docs/claims.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from seqbench import tasks as of_tasks
from seqbench.analyse import statistics
from seqbench.analyse.conclusions import Claim, Ground
from seqbench.analyse.findings import number, words
from seqbench.analyse.grounds import Hypothesis, Known, OnTasks, Seen
from seqbench.analyse.grounds_costs import Meets, Pace, Ratio, Slope
from seqbench.analyse.grounds_reach import Decay, Level, Longer, Reach
from seqbench.analyse.grounds_runs import Diverged, Parameters, Score, Share, TimeToTarget
from seqbench.errors import InputError, nearest
from seqbench.presets import read as read_yaml
from seqbench.presets import typed
from seqbench.records import Count, Record

PATH = Path("workflow/claims.yaml")
MEASURES: Mapping[str, type[Hypothesis]] = {
    kind.NAME: kind
    for kind in (
        *(Score, Share, Level, Reach, Longer, Diverged, TimeToTarget, Parameters),
        *(Decay, Slope, Meets, Ratio, Pace),
    )
}
"""By the word after `measure:`."""
BOUNDS = ("above", "below", "between")
MANY = 100
"""Seeds beyond which a difference is called too near the margin."""
Verdict = Literal["supported", "refuted", "undecided"]


class Entry(Record):
    """One claim of the file, its parts as they stand there."""

    number: Count
    title: str
    """As people say it."""
    parts: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]


class File(Record):
    """The keys of the file."""

    claims: tuple[Entry, ...]


class Folklore(NamedTuple):
    """One claim with its parts, checked."""

    number: int
    title: str
    parts: tuple[Hypothesis, ...]


# ---------------------------------------------------------------- reading


def read(path: Path = PATH) -> tuple[Folklore, ...]:
    """The register. InputError, naming the nearest, for an unknown key, measure or task."""
    entries = typed(File, read_yaml(path), str(path)).claims
    numbers = [entry.number for entry in entries]
    twice = next((n for n in numbers if numbers.count(n) > 1), None)
    if twice is not None:
        raise InputError(f"two claims have the number {twice}", str(path), "give each a number of its own")
    return tuple(
        Folklore(
            entry.number,
            entry.title,
            tuple(_part(part, f"{path}, claim {entry.number}, part {n}") for n, part in enumerate(entry.parts, 1)),
        )
        for entry in entries
    )


def _part(given: Mapping[str, Any], where: str) -> Hypothesis:
    fields = dict(given)
    measure = fields.pop("measure", None)
    if not isinstance(measure, str) or measure not in MEASURES:
        what = "a part without a measure" if measure is None else f"unknown measure '{measure}'"
        raise InputError(what, f"{where}, measure", nearest(str(measure), MEASURES))
    bounds = [key for key in BOUNDS if key in fields]
    if len(bounds) != 1:
        raise InputError(f"{len(bounds)} of {', '.join(BOUNDS)}", where, "give one of them: where the effect must lie")
    part = typed(MEASURES[measure], fields, where)
    for word in part.tasks if isinstance(part, OnTasks) else ():
        name = of_tasks.name_of(word)
        if name not in of_tasks.names():
            raise InputError(f"unknown task '{name}'", f"{where}, tasks", nearest(name, of_tasks.names()))
    return part


# ---------------------------------------------------------------- deciding


def decide(register: Sequence[Folklore], known: Known) -> tuple[Claim, ...]:
    """What the runs say of each part of each claim, in the order of the register."""
    return tuple(claim for one in register for claim in _decide(one, known))


def _decide(folklore: Folklore, known: Known) -> list[Claim]:
    """The parts of one claim: the comparisons of them all that rest on seeds are the family of Holm's correction."""
    looks = [(part, part.look(known)) for part in folklore.parts]
    tested = [(part, seen) for part, found in looks for seen in found if seen.test is not None and not seen.trouble]
    adjusted = statistics.holm([part.p(seen) for part, seen in tested])
    p_holm = {id(seen): p for (_, seen), p in zip(tested, adjusted, strict=True)}
    claims = []
    for part, found in looks:
        judged = [(seen, *judge(part, seen, p_holm.get(id(seen)), len(tested))) for seen in found]
        verdict, lead = _verdict(part, judged)
        claims.append(
            Claim(
                number=folklore.number,
                title=folklore.title,
                part=part.part,
                measure=part.NAME,
                margin=part.margin,
                verdict=verdict,
                text=_text(part, verdict, judged, part.absent(known)),
                effect=lead.effect,
                interval=lead.interval,
                unit=part.UNIT,
                grounds=tuple(ground for _, ground, _ in judged),
            )
        )
    return claims


Judged = tuple[Seen, Ground, str]
"""What was seen, what it says, and why it says nothing (empty: it does)."""


def _verdict(part: Hypothesis, judged: Sequence[Judged]) -> tuple[Verdict, Ground]:
    """A part speaks of all its grounds: all must support it, and one that refutes it is enough.

    Grounds that are set aside count only where there are no others. With the verdict comes the ground that it hangs
    on: of a supported part the least clear, of a refuted one the clearest exception, else the first that says nothing.
    """
    telling = _telling(judged)
    ordered = [ground for _, ground, _ in sorted(telling, key=lambda one: _inside(part, one[0]))]
    against = [ground for ground in ordered if ground.supports == "refutes"]
    if against:
        return "refuted", against[0]
    if all(ground.supports == "supports" for ground in ordered):
        return "supported", ordered[0]
    return "undecided", next(ground for _, ground, _ in telling if ground.supports in ("undecided", "missing"))


def _telling(judged: Sequence[Judged]) -> Sequence[Judged]:
    """The grounds that a verdict rests on: those that are not set aside, or all where all are."""
    return [one for one in judged if not one[0].aside] or judged


def _inside(part: Hypothesis, seen: Seen) -> float:
    """How far an effect lies within the region of the part; negative outside."""
    low, high = part.region
    effect = seen.effect or 0.0
    return min(effect - low, high - effect)


def _text(part: Hypothesis, verdict: Verdict, judged: Sequence[Judged], absent: Sequence[str]) -> str:
    """The verdict in a sentence or two; of an undecided part, what would decide it."""
    grounds = _telling(judged)
    ours, against = (
        [ground for _, ground, _ in grounds if ground.supports == word] for word in ("supports", "refutes")
    )
    if verdict == "supported":
        text = f"Supported{f' on all {len(grounds)}' if len(grounds) > 1 else ''}: {_listed(ours)}"
    elif verdict == "refuted":
        text = f"Refuted{' at this margin' if all(_too_little(part, ground) for ground in against) else ''}: "
        text += f"it does not hold on all tasks. Against it: {_listed(against)}" if ours else _listed(against)
    else:
        first = {why: ground.text for _, ground, why in reversed(grounds) if why}
        text = f"Undecided: {'; '.join(reversed(first.values()))}"
    text += f". For it: {_listed(ours)}" if ours and verdict != "supported" else ""
    if len(grounds) < len(judged):
        aside = [seen.aside for seen, _, _ in judged if seen.aside]
        places = {why: [place for other, place in aside if other == why] for why, _ in aside}
        text += f". Set aside: {'; '.join(f'{why} {words(where)}' for why, where in places.items())}"
    nothing = all(ground.supports == "missing" for _, ground, _ in judged)  # the text says what to run
    return f"{text}.{f' Not run: {words(absent)}.' if absent and not nothing else ''}"


def _listed(grounds: Sequence[Ground]) -> str:
    return "; ".join(ground.text for ground in grounds)


def _too_little(part: Hypothesis, ground: Ground) -> str:
    """What an effect on the claimed side lacks, in words; empty: it is not on that side."""
    if ground.effect is None or ground.interval is None:
        return ""
    return part.too_little(ground.effect, ground.interval)


# ---------------------------------------------------------------- the rule for one comparison


def judge(part: Hypothesis, seen: Seen, p_holm: float | None, family: int) -> tuple[Ground, str]:
    """What one comparison says of the part, and where it says nothing, why and what would decide.

    One that was set aside says nothing. It supports where the interval lies within the region of the part and refutes
    where it lies outside. Where seeds are compared, the exact test, corrected over the `family` of the claim, must
    reject the bound as well.
    """
    low, high = part.region
    word: Literal["supports", "refutes", "undecided", "missing"] = "undecided"
    why = ""
    if seen.missing:
        word, why = "missing", seen.missing
    elif seen.trouble:
        why = seen.trouble
    elif seen.test is not None and seen.smallest * family > statistics.LEVEL:
        why = _too_few(seen, family)
    elif seen.interval is None or seen.effect is None:
        why = "one seed gives no interval: more seeds would decide"
    elif part.holds(seen.interval[0]) and part.holds(seen.interval[1]):
        word = "supports"
    elif seen.interval[1] < low or seen.interval[0] > high:
        word = "refutes"
    else:
        why = _spans(seen, [bound for bound in (low, high) if math.isfinite(bound)])
    tested = p_holm is not None and not (word == "refutes" and seen.zero)
    if word in ("supports", "refutes") and tested and (p_holm or 0.0) > statistics.LEVEL:
        word, why = "undecided", f"the exact test does not reach {statistics.LEVEL:g}: more seeds would decide"
    text = seen.text + ("" if p_holm is None else f", p = {number(p_holm)} {_against(seen)}")
    # JSON has no infinity: an open interval, and its end as an effect, are not written; the text says where it ends
    bounded = seen.interval is None or all(map(math.isfinite, seen.interval))
    ground = Ground(
        text=": ".join(filter(None, (text, why))),
        effect=seen.effect if bounded else None,
        interval=seen.interval if bounded else None,
        p=p_holm,
        supports=word,
        anchor=seen.anchor,
    )
    if lacks := _too_little(part, ground) if word == "refutes" or seen.aside else "":
        ground = ground.model_copy(update={"text": f"{text}: {'; '.join(filter(None, (lacks, why)))}"})
    return ground, why


def _against(seen: Seen) -> str:
    return f"against {'no difference' if seen.zero else 'the margin'}, after Holm"


def _too_few(seen: Seen, family: int) -> str:
    needed = statistics.seeds_needed(family, statistics.LEVEL)
    best = min(1.0, seen.smallest * family)
    return (
        f"too few seeds: with {seen.seeds} a side the exact test reaches p = {number(best)} at best over {family} "
        f"comparison{'s' * (family != 1)}; {needed} would do"
    )


def _spans(seen: Seen, bounds: Iterable[float]) -> str:
    """The interval lies on both sides of a bound; how many seeds may separate them, if the effect stays."""
    assert seen.interval is not None and seen.effect is not None
    low, high = seen.interval
    bound = min((b for b in bounds if low <= b <= high), key=lambda b: abs(b - (seen.effect or 0.0)))
    said = f"the interval spans {bound:g}"
    if not seen.seeds or not math.isfinite(high - low):
        return f"{said}: {seen.narrows}"
    distance = abs(seen.effect - bound)
    needed = math.ceil(seen.seeds * ((high - low) / 2 / distance) ** 2) if distance else math.inf
    if needed > MANY:
        return f"{said}: the effect is too near it for {MANY} seeds to tell"
    return f"{said}: if the effect stays, about {max(needed, seen.seeds + 1)} seeds would tell"
