"""Planted knowledge with a known answer: for any part of a claim, records by which it is true, false, or not known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import planted

from seqbench import records
from seqbench.analyse import statistics, verdicts
from seqbench.analyse.grounds import Hypothesis, Known, OnTasks
from seqbench.analyse.grounds_costs import Meets, OfCurve, Pace, Ratio, Slope
from seqbench.analyse.grounds_reach import Decay, Level, Longer, Reach
from seqbench.analyse.grounds_runs import Diverged, Parameters, Score, Share, TimeToTarget
from seqbench.analyse.summary import (
    Cell,
    Crossover,
    Curve,
    Evidence,
    Front,
    Horizon,
    Law,
    Stretch,
    TaskSummary,
)
from seqbench.measurements import CellTime, Counted, Measurement, Quantiles
from seqbench.measurements import Pace as Paced
from seqbench.records import Control, Result, Setting

SEEDS = 8
TRIVIAL, BEST = 0.9, 0.0
"""Of every planted task, by mean squared error: 0 and 1 of rescaled scores."""
Values = Sequence[float | None]


def setting(task: str, settings: Mapping[str, Any], label: str) -> Setting:
    arch, _, variant = label.partition("+")
    return Setting(
        task=task,
        task_settings=dict(settings),
        arch=arch,
        core=planted.CORE,
        parameters=6000,
        train=records.TrainSettings(steps=300),
        tune=records.TuneSettings(),
        variant=variant,
    )


def task(word: str, length: int = 300) -> TaskSummary:
    """A task by name or id; of a name with a knob, the id of that length."""
    knobs = {"adding": "length", "copy_memory": "delay", "selective_copy": "length"}
    name, _, value = word.partition("-")
    value = value or (str(length) if name in knobs else "")
    return TaskSummary(
        id=f"{name}-{value}" if value else name,
        name=name,
        title=name,
        family="probe",
        knob=knobs.get(name, ""),
        level=float(value) if name in knobs else None,
        value=value,
        spec=records.Spec(**planted.PLAIN | {"length": length}),
        sizes={"train": 100, "valid": 10, "test": 10},
        defects=(),
        data_digest="d" * 64,
        sources=(),
        controls=(
            Control(name="mean", kind="trivial", metrics={"mse": TRIVIAL}),
            Control(name="oracle", kind="strong", metrics={"mse": BEST}),
        ),
        differences=(),
    )


def settings_of(of: TaskSummary) -> dict[str, Any]:
    return {of.knob: int(of.value)} if of.level is not None else {"connection": of.value} if of.value else {}


def evidence(of: TaskSummary, label: str, scores: Values, **changes: Any) -> Evidence:
    """Runs with these scores; None: it diverged. `changes` go into every result."""
    how = setting(of.name, settings_of(of), label)
    results = tuple(_result(how, of, seed, score, changes) for seed, score in enumerate(scores, 1))
    return Evidence(
        task=of.id,
        arch=how.arch,
        setting=how,
        tuned=records.Tuned(key="0" * 64, task=of.id, arch=label, learning_rate=1e-3, border=False, trials=()),
        results=results,
        provenances=(),
        commands=(),
    )


def _result(how: Setting, of: TaskSummary, seed: int, score: float | None, changes: Mapping[str, Any]) -> Result:
    plain = planted.result(how.model_copy(update={"task": "adding", "task_settings": {"length": 9}}), seed, score, "d")
    return plain.model_copy(update={"task": of.id, "setting": how} | dict(changes))


def cells(of: TaskSummary, *runs: Evidence, failed: Mapping[str, str] | None = None) -> tuple[Cell, ...]:
    """Cells as the analysis makes them; `failed`: gates that an architecture did not pass."""
    gates = {
        run.arch: planted.gates(
            run.arch, (of.spec.kind,), {"causality": of.spec.kind} if run.arch in (failed or {}) else None
        )
        for run in runs
    }
    return verdicts.cells(of, runs, gates)


def known(tasks: Sequence[TaskSummary], own: Sequence[Cell], **more: Any) -> Known:
    """Cells of the grid and those beside it, apart."""
    grid = [cell for cell in own if not cell.evidence.setting.variant]
    return Known(tasks=tasks, cells=grid, variants=[c for c in own if c.evidence.setting.variant], **more)


def about(mean: float, spread: float = 0.01, seeds: int = SEEDS) -> list[float]:
    """Values whose mean is this one, all different."""
    return [mean + spread * (n - (seeds - 1) / 2) for n in range(seeds)]


def mse(shares: Sequence[float]) -> list[float]:
    """Scores that go so far of the way from the trivial control to the best."""
    return [TRIVIAL + share * (BEST - TRIVIAL) for share in shares]


def quantiles(median: float, spread: float) -> Quantiles:
    return Quantiles(
        median=median, q25=median * (1 - spread), q75=median * (1 + spread), p99=2 * median, repetitions=20
    )


# ---------------------------------------------------------------- one part, true or false


def place(part: Hypothesis, truth: bool | None, step: float) -> float:
    """An effect `step` inside the region, as much outside, or (None) on its border."""
    low, high = part.region
    bound, sign = (low, 1.0) if math.isfinite(low) else (high, -1.0)
    if truth is None:
        return bound
    if truth and math.isfinite(low) and math.isfinite(high):
        return (low + high) / 2
    return bound + (sign if truth else -sign) * step


def plant(part: Hypothesis, truth: bool | None, flags: tuple[str, ...] = ()) -> Known:
    """All that the part looks at, so that it is true, false, or (None) lost in the noise."""
    for kind, make in PLANTS.items():
        if isinstance(part, kind):
            found: Known = make(part, truth, flags)
            return found
    raise AssertionError(f"nothing is planted for {part.NAME}")


def tasks_of(part: OnTasks) -> list[TaskSummary]:
    """Every task that the part names, within its limits."""
    length = part.longest or max(300, part.shortest)
    found = [task(word, length) for word in part.tasks]
    against = getattr(part, "against", "")
    return [*found, *([task(against, length)] if against else [])]


def _score(part: Score, truth: bool | None, flags: tuple[str, ...]) -> Known:
    gain = place(part, truth, 3.0 if part.metric else 0.3)
    spread = 0.1 if truth is None else 0.001
    tasks, own = tasks_of(part), []
    for one in tasks:
        sides = [(part.a, 0.5 + gain), (part.b, 0.5)]
        if part.against:
            sides = [sides[one.id == part.against]]
        runs = [evidence(one, label, mse(about(mean, spread * (1 + 0.1 * n)))) for n, (label, mean) in enumerate(sides)]
        if part.metric:
            runs = [_with_metric(run, part, mean, spread) for run, (_, mean) in zip(runs, sides, strict=True)]
        own += cells(one, *runs)
    return known(tasks, own)


def _with_metric(run: Evidence, part: Score, mean: float, spread: float) -> Evidence:
    values = about(mean, spread)
    results = [
        r.model_copy(update={"test": r.test | {part.metric: 20 + v, part.less: 20.0}})
        for r, v in zip(run.results, values, strict=True)
    ]
    return run.model_copy(update={"results": tuple(results)})


def _share(part: Share, truth: bool | None, flags: tuple[str, ...]) -> Known:
    mean = place(part, truth, 0.3)
    tasks = tasks_of(part)
    spread = 0.1 if truth is None else 0.001
    return known(tasks, [c for one in tasks for c in cells(one, evidence(one, part.a, mse(about(mean, spread))))])


def _level(part: Level, truth: bool | None, flags: tuple[str, ...]) -> Known:
    tasks = [task(word, length) for word in part.tasks for length in (100, 200, 400)]
    limits = {True: (400, 100), False: (100, 400), None: (400, 400)}[truth]
    own: list[Cell] = []
    for one in tasks:
        runs = [
            evidence(one, label, mse(about(0.97 if (one.level or 0) <= limit else 0.2, 0.001)))
            for label, limit in zip((part.a, part.b), limits, strict=True)
        ]
        own += cells(one, *runs)
    return known(tasks, own)


def _horizon(part: Reach, truth: bool | None, flags: tuple[str, ...]) -> Known:
    ratio, half = place(part, truth, 0.9 * part.region[0]), 30.0 if truth is None else 0.5
    tasks = tasks_of(part)
    horizons = [
        Horizon(
            task=one.id,
            arch=label,
            kind=part.kind,
            trained=part.trained,
            lags=(0, 100, 999),
            effects=(1.0, 0.5, 0.2),
            low=(1.0, 0.5, 0.2),
            high=(1.0, 0.5, 0.2),
            horizon=lag,
            interval=(lag - half, lag + half),
            seeds=SEEDS,
            beyond=0,
        )
        for one in tasks
        for label, lag in ((part.a, 100 * ratio), (part.b, 100.0))
    ]
    own = [c for one in tasks for label in (part.a, part.b) for c in cells(one, evidence(one, label, mse(about(0.5))))]
    return known(tasks, own, horizons=horizons)


def _stretch(part: Longer, truth: bool | None, flags: tuple[str, ...]) -> Known:
    gain, half = place(part, truth, 0.3), 0.2 if truth is None else 0.01
    tasks = tasks_of(part)
    found = [
        Stretch(
            task=one.id,
            arch=label,
            trained_length=100,
            length=100 * part.times,
            mean=(score := mse([share])[0]),
            interval=(score - half, score + half),
            seeds=SEEDS,
        )
        for one in tasks
        for label, share in ((part.a, 0.3 + gain), (part.b, 0.3))
    ]
    own = [c for one in tasks for label in (part.a, part.b) for c in cells(one, evidence(one, label, mse(about(0.5))))]
    return known(tasks, own, stretches=found)


def _diverged(part: Diverged, truth: bool | None, flags: tuple[str, ...]) -> Known:
    lost = {True: (6, 0), False: (0, 6), None: (1, 1)}[truth]
    tasks = tasks_of(part)
    own: list[Cell] = []
    for one in tasks:
        runs = [
            evidence(one, label, [None] * n + about(0.5, seeds=SEEDS - n))
            for label, n in zip((part.a, part.b), lost, strict=True)
        ]
        own += cells(one, *runs)
    return known(tasks, own)


def _time(part: TimeToTarget, truth: bool | None, flags: tuple[str, ...]) -> Known:
    ratio = place(part, truth, 0.5)
    tasks = tasks_of(part)
    spread = 10.0 if truth is None else 1.0
    own: list[Cell] = []
    for one in tasks:
        runs = []
        for n, label in enumerate((part.a, part.b)):
            run = evidence(one, label, mse(about(0.5)))
            steps = about(2000, spread * (1 + n))
            curves = [(records.Point(step=round(s), loss=1.0, valid=0.1, learning_rate=1e-3),) for s in steps]
            results = [r.model_copy(update={"curve": c}) for r, c in zip(run.results, curves, strict=True)]
            runs.append(run.model_copy(update={"results": tuple(results)}))
        own += cells(one, *runs)
    fronts = [
        Front(
            task=one.id,
            arch=part.a,
            score=0.5,
            seconds=1.0,
            interval=None,
            to_target=1.0,
            reached=SEEDS,
            target=0.2,
            item_ms=None,
            best=False,
        )
        for one in tasks
    ]
    return known(tasks, own, fronts=fronts, paces=_paces(tasks, part.a, part.b, ratio, truth, flags))


def _paces(
    tasks: Sequence[TaskSummary], a: str, b: str, ratio: float, truth: bool | None, flags: tuple[str, ...]
) -> list[Paced]:
    spread = 0.1 if truth is None else 0.001
    labels = ((a, 0.01 * ratio), (b, 0.01))
    times = tuple(
        CellTime(
            arch=label,
            step=quantiles(step, spread),
            item=quantiles(step, spread),
            flags=flags,
        )
        for label, step in labels
    )
    made = {"settings": {}, "provenance": planted.provenance()}
    return [Paced(task=one.id, cells=times, **made) for one in tasks]


def _parameters(part: Parameters, truth: bool | None, flags: tuple[str, ...]) -> Known:
    assert truth is not None, "counts have no noise"
    tasks, ratio = tasks_of(part), place(part, truth, 0.2)
    own: list[Cell] = []
    for one in tasks:
        counts = [records.Parameters(embedding=0, frontend=9, core=n, head=9) for n in (round(6400 * ratio), 8 * 800)]
        runs = [
            evidence(one, label, mse(about(0.5)), parameters=count, width=32)
            for label, count in zip((part.a, part.b), counts, strict=True)
        ]
        own += cells(one, *runs)
    return known(tasks, own)


def _curve(part: OfCurve, arch: str, form: str = "") -> Curve:
    return Curve(arch=arch, quantity=part.quantity, along="length", threads=1, track=part.track, form=form)


def _slope(part: Slope, truth: bool | None, flags: tuple[str, ...]) -> Known:
    slope, half = place(part, truth, 0.4), 0.3 if truth is None else 0.01
    law = Law(
        curve=_curve(part, part.arch, part.form),
        slope=slope,
        interval=(slope - half, slope + half),
        fit=0.99,
        low=32,
        high=512,
        points=5,
        of="bytes",
        flags=flags,
    )
    return known([], [], laws=[law])


def _points(part: OfCurve, values: Mapping[int, float], spread: float, flags: tuple[str, ...]) -> list[Measurement]:
    unit = {"stream": "ms", "train": "tokens/s"}.get(part.quantity, "bytes")
    return [
        Measurement(quantity=part.quantity, length=n, batch=8, unit=unit, value=quantiles(v, spread), flags=flags)
        for n, v in values.items()
    ]


def _ratio(part: Ratio, truth: bool | None, flags: tuple[str, ...]) -> Known:
    ratio = place(part, truth, 0.5 * (part.region[0] if math.isfinite(part.region[0]) else part.region[1]))
    spread = 0.1 if truth is None else 0.001
    lengths = (100, part.length or 2000)
    sides = zip((part.a, part.b), part.forms, (100.0 * ratio, 100.0), strict=True)
    curves = {_curve(part, a, form): _points(part, dict.fromkeys(lengths, v), spread, flags) for a, form, v in sides}
    return known([], [], curves=curves)


def _meets(part: Meets, truth: bool | None, flags: tuple[str, ...]) -> Known:
    length = place(part, truth, 256.0)
    half = 100.0 if truth is None else 10.0
    curves = {
        _curve(part, part.a): _points(part, {64: 90.0, 4096: 300.0}, 0.01, flags),
        _curve(part, part.b): _points(part, {64: 100.0, 4096: 100.0}, 0.01, flags),
    }
    crossing = Crossover(
        curve=_curve(part, part.a),
        a=part.a,
        b=part.b,
        length=length,
        interval=(length - half, length + half),
        low=64,
        high=4096,
        flags=flags,
        text=f"{part.a} trains faster than {part.b} from about {length:g} steps on",
    )
    return known([], [], curves=curves, crossovers=[crossing])


def _pace(part: Pace, truth: bool | None, flags: tuple[str, ...]) -> Known:
    tasks = tasks_of(part)
    own = [c for one in tasks for label in (part.a, part.b) for c in cells(one, evidence(one, label, mse(about(0.5))))]
    return known(tasks, own, paces=_paces(tasks, part.a, part.b, place(part, truth, 0.3), truth, flags))


def norms(rate: Callable[[int], float], noise: float) -> dict[int, float]:
    """Norms by lag: 10 to the power of minus the decades lost, up and down by as many decades as `noise`."""
    return {lag: 10 ** (-rate(lag) + noise * (-1) ** (lag // 10)) for lag in range(0, 101, 10)}


def gradient(values: Mapping[int, float], arch: str, **changes: Any) -> Counted:
    """What `count` leaves of gradients."""
    points = tuple(
        Measurement(quantity="gradient", length=lag, batch=8, unit="norm", value=quantiles(norm, 0.0), **changes)
        for lag, norm in values.items()
    )
    return planted.counted(arch, 0).model_copy(update={"measurements": points})


def _decay(part: Decay, truth: bool | None, flags: tuple[str, ...]) -> Known:
    rate = place(part, truth, 0.8)
    values = norms(lambda lag: rate * lag / 100, 0.5 if truth is None else 0.001)
    if not part.tasks:
        return known([], [], counted=[gradient(values, part.arch, flags=flags)])
    tasks = tasks_of(part)
    effects = tuple(values.values())
    horizons = [
        Horizon(
            task=one.id,
            arch=part.arch,
            kind="gradient",
            trained=True,
            lags=tuple(values),
            effects=effects,
            low=effects,
            high=effects,
            horizon=5.0,
            interval=(4.0, 6.0),
            seeds=SEEDS,
            beyond=0,
        )
        for one in tasks
    ]
    own = [c for one in tasks for c in cells(one, evidence(one, part.arch, mse(about(0.5))))]
    return known(tasks, own, horizons=horizons)


PLANTS: dict[type[Hypothesis], Callable[[Any, bool | None, tuple[str, ...]], Known]] = {
    **{Score: _score, Share: _share, Level: _level, Reach: _horizon, Longer: _stretch, Diverged: _diverged},
    **{TimeToTarget: _time, Parameters: _parameters, Slope: _slope, Ratio: _ratio, Meets: _meets, Pace: _pace},
    Decay: _decay,
}
assert statistics.smallest_p(SEEDS, SEEDS) < 0.001
