"""Costs: which measurements make a curve, what is said of them in numbers and words, and what quality costs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import planted
import pytest

from seqbench import records
from seqbench.analyse import costs
from seqbench.analyse.summary import Cell, Crossover, Curve, Evidence, Front, Law, TaskSummary
from seqbench.config import MeasureSettings
from seqbench.measurements import CellTime, Counted, Measured, Measurement, Pace, Quantiles, Quantity

SETTINGS = MeasureSettings(batch=8, tokens=1024, length=128)
LENGTHS = (32, 64, 128, 256, 512)
MADE: dict[str, Any] = {"core": {}, "version": 1, "settings": {}, "width": 40, "parameters": 20_000}
UNITS: dict[str, str] = {
    **dict.fromkeys(("train", "infer", "generate"), "tokens/s"),
    **dict.fromkeys(("first_token", "stream"), "ms"),
    **dict.fromkeys(("train_memory", "infer_memory", "state"), "bytes"),
    "gradient": "norm",
}


def quantiles(median: float, spread: float = 0.0) -> Quantiles:
    return Quantiles(
        median=median, q25=median * (1 - spread), q75=median * (1 + spread), p99=median * 2, repetitions=20
    )


def point(quantity: Quantity, length: int, median: float | None, spread: float = 0.0, **changes: Any) -> Measurement:
    """A measurement in the batch of the sweep; None: memory ran out."""
    fields: dict[str, Any] = {
        "quantity": quantity,
        "length": length,
        "batch": 1 if quantity in ("stream", "first_token", "state") else 8,
        "unit": UNITS[quantity],
        "value": None if median is None else quantiles(median, spread),
        "status": "out_of_memory" if median is None else "ok",
    }
    return Measurement(**(fields | changes))


def measured(arch: str, *points: Measurement, **hardware: Any) -> Measured:
    provenance = planted.provenance(hardware=planted.HARDWARE.model_copy(update=hardware))
    fixed = MADE | {"energy": "no meter", "methods": {}}
    return Measured(arch=arch, measurements=points, provenance=provenance, **fixed)


def counted(arch: str, *points: Measurement, **hardware: Any) -> Counted:
    provenance = planted.provenance(hardware=planted.HARDWARE.model_copy(update=hardware))
    fixed = MADE | {"work": (), "predictions": (), "methods": {}}
    return Counted(arch=arch, measurements=points, provenance=provenance, **fixed)


def seconds(cost: Callable[[int], float], spread: float = 0.0, lengths: Sequence[int] = LENGTHS) -> list[Measurement]:
    """Training of batches of 8 that takes so many seconds by length, as tokens/s."""
    return [point("train", n, 8 * n / cost(n), spread) for n in lengths]


# ---------------------------------------------------------------- curves


@pytest.mark.parametrize("quantity", ["train", "infer", "generate"])
def test_a_measurement_lies_on_every_curve_that_it_belongs_to(quantity: Quantity) -> None:
    lengths = [point(quantity, n, 1e4) for n in (256, 128, 64)]
    tokens = [point(quantity, n, 1e4, batch=batch) for n, batch in ((64, 16), (256, 4), (2048, 1))]
    batches = [point(quantity, 128, 1e4, batch=batch) for batch in (32, 1)]
    found = costs.curves([measured("gru", *lengths, *tokens, *batches)], [], SETTINGS)
    assert {curve.along: [(m.length, m.batch) for m in points] for curve, points in found.items()} == {
        "length": [(64, 8), (128, 8), (256, 8)],
        "length at constant tokens": [(64, 16), (128, 8), (256, 4), (2048, 1)],
        "batch": [(128, 1), (128, 8), (128, 32)],
    }
    assert {(curve.arch, curve.quantity, curve.threads, curve.form) for curve in found} == {("gru", quantity, 1, "")}


def test_threads_tracks_and_forms_are_curves_of_their_own() -> None:
    kinds: list[dict[str, Any]] = [{}, {"threads": 2}, {"track": "reference"}, {"form": "checkpointed"}]
    points = [point("train", n, 1e4, **kind) for kind in kinds for n in (64, 128)]
    found = costs.curves([measured("gru", *points)], [], SETTINGS)
    assert list(found) == [Curve(arch="gru", quantity="train", along="length", **kind) for kind in kinds]
    assert all([m.length for m in of] == [64, 128] for of in found.values())


def test_what_has_no_batch_and_what_is_counted_run_along_length() -> None:
    names: tuple[Quantity, ...] = ("stream", "first_token")
    speeds = [point(name, n, 1.0) for name in names for n in (128, 1000, 2000)]
    sizes: tuple[Quantity, ...] = ("train_memory", "infer_memory", "state")
    bytes_ = [point(name, n, 1e6) for name in sizes for n in (64, 128, 256)]
    lag = point("gradient", 5, 0.1)
    found = costs.curves([measured("gru", *speeds)], [counted("gru", *bytes_, lag)], SETTINGS)
    assert [curve.quantity for curve in found] == [*names, *sizes]
    assert {curve.along for curve in found} == {"length"}
    assert all(len(points) == 3 for points in found.values())


def test_one_point_of_another_sweep_is_a_curve_along_length_alone() -> None:
    found = costs.curves([measured("gru", point("train", 128, 1e4, form="checkpointed"))], [], SETTINGS)
    assert [(curve.along, curve.form) for curve in found] == [("length", "checkpointed")]


def test_points_without_a_value_stay_in_their_place() -> None:
    points = [point("train", 512, None), point("train", 64, 1e4), point("train", 256, None)]
    (found,) = costs.curves([measured("gru", *points)], [], SETTINGS).values()
    assert [(m.length, m.status, m.value is None) for m in found] == [
        (64, "ok", False),
        (256, "out_of_memory", True),
        (512, "out_of_memory", True),
    ]


# ---------------------------------------------------------------- laws


def laws(*sources: Measured | Counted) -> tuple[Law, ...]:
    timed = [one for one in sources if isinstance(one, Measured)]
    return costs.laws(costs.curves(timed, [one for one in sources if isinstance(one, Counted)], SETTINGS))


def test_rates_become_seconds_that_grow() -> None:
    (law,) = laws(measured("transformer", *seconds(lambda n: 1e-6 * n**1.5)))
    assert law.slope == pytest.approx(1.5)
    assert (law.low, law.high, law.points, law.of) == (32, 512, 5, "seconds per batch")
    assert law.curve == Curve(arch="transformer", quantity="train", along="length")
    (law,) = laws(measured("gru", *(point("generate", n, 8 / (1e-3 * n)) for n in (10, 100, 1000))))
    assert (law.slope, law.of) == (pytest.approx(1.0), "seconds per step")


def test_of_memory_the_activations_grow() -> None:
    parts = {n: {"parameters": 10**7, "activations": 3 * n**2} for n in LENGTHS}
    points = [point("train_memory", n, 10**7 + 3 * n**2, parts=parts[n]) for n in LENGTHS]
    (law,) = laws(counted("transformer", *points))
    assert (law.slope, law.of) == (pytest.approx(2.0), "bytes of activations")
    assert laws(counted("transformer", *(point("train_memory", n, 10**7) for n in LENGTHS))) == ()


def test_time_and_state_of_a_streamed_step() -> None:
    stream = [point("stream", n, 0.3) for n in (10, 100, 1000)]
    state = [point("state", n, 64.0 * n) for n in (10, 100, 1000)]
    constant, linear = laws(measured("gru", *stream), counted("gru", *state))
    assert (constant.slope, constant.of) == (0.0, "ms per step")
    assert (linear.slope, linear.of) == (pytest.approx(1.0), "bytes of state")


def test_memory_that_ran_out_is_kept_and_not_fitted() -> None:
    points = [*seconds(lambda n: 1e-6 * n**2), point("train", 1024, None)]
    found = costs.curves([measured("transformer", *points)], [], SETTINGS)
    assert [m.status for m in found[Curve(arch="transformer", quantity="train", along="length")]][-1] == "out_of_memory"
    (law,) = costs.laws(found)
    assert (law.slope, law.high) == (pytest.approx(2.0), 512)


def test_two_points_give_no_law_and_neither_do_other_axes() -> None:
    two = [*seconds(lambda n: float(n), lengths=(32, 64)), point("train", 128, None)]
    assert laws(measured("gru", *two)) == ()
    batches = [point("train", 128, 1e4, batch=batch) for batch in (1, 2, 4, 16)]
    assert laws(measured("gru", *batches)) == ()


def test_a_law_has_the_flags_of_the_points_that_it_was_fitted_to() -> None:
    lengths = (8, 16, 32, 64, 128, 256, 512)
    points = seconds(lambda n: 1e-4 * max(n, 64), lengths=lengths)  # straight from 64 on
    assert laws(measured("gru", *points))[0].flags == ()
    early = [m.model_copy(update={"flags": ("throttled",)}) if m.length < 64 else m for m in points]
    assert laws(measured("gru", *early))[0].low == 64 and laws(measured("gru", *early))[0].flags == ()
    late = [m.model_copy(update={"flags": ("contended",)}) if m.length in (64, 512) else m for m in early]
    assert laws(measured("gru", *late))[0].flags == ("contended",)


# ---------------------------------------------------------------- crossovers


def crossovers(*sources: Measured | Counted) -> tuple[Crossover, ...]:
    timed = [one for one in sources if isinstance(one, Measured)]
    bytes_ = [one for one in sources if isinstance(one, Counted)]
    architectures = list(dict.fromkeys(one.arch for one in sources))
    return costs.crossovers(costs.curves(timed, bytes_, SETTINGS), architectures, timed, bytes_)


def test_a_crossover_in_numbers_and_words() -> None:
    lstm = measured("lstm", *seconds(lambda n: 1e-4 * n, 0.1))
    transformer = measured("transformer", *seconds(lambda n: 1e-4 * 200, 0.1))
    (found,) = crossovers(lstm, transformer)
    assert (found.a, found.b, found.low, found.high) == ("lstm", "transformer", 32, 512)
    assert found.curve == Curve(arch="lstm", quantity="train", along="length")
    assert found.length == pytest.approx(200)
    assert found.interval == pytest.approx((200 * 0.9 / 1.1, 200 * 1.1 / 0.9))
    assert found.text == "transformer trains faster than lstm from about 200 steps on [164, 244]; below, lstm does"
    (turned,) = crossovers(transformer, lstm)
    assert (turned.a, turned.text) == ("transformer", found.text)


def test_a_crossover_on_disturbed_points_says_so() -> None:
    steady = measured("transformer", *seconds(lambda n: 1e-4 * 200, 0.1, LENGTHS[1:]))
    points = seconds(lambda n: 1e-4 * n, 0.1)
    (quiet,) = crossovers(measured("lstm", *points), steady)
    alone = points[0].model_copy(update={"flags": ("throttled",)})  # at a length that the other was not measured at
    (found,) = crossovers(measured("lstm", alone, *points[1:]), steady)
    assert (found.flags, found.text) == ((), quiet.text)
    one, two = (points[n].model_copy(update={"flags": (flag,)}) for n, flag in ((1, "contended"), (4, "throttled")))
    (found,) = crossovers(measured("lstm", points[0], one, *points[2:4], two), steady)
    assert found.flags == ("contended", "throttled")
    assert found.text == f"{quiet.text} (contended and throttled: the machine was not quiet)"


def test_the_length_of_streaming_and_generation_is_called_a_context() -> None:
    names: tuple[Quantity, ...] = ("stream", "generate")
    fast, slow = (
        measured(arch, *(point(name, n, cost if name == "stream" else 1 / cost) for name in names for n in (10, 1000)))
        for arch, cost in (("gru", 1.0), ("rnn", 2.0))
    )
    assert [one.text for one in crossovers(fast, slow)] == [
        "gru streams faster than rnn at every context from 10 to 1000",
        "gru generates faster than rnn at every context from 10 to 1000",
    ]


def test_one_that_is_better_everywhere_or_at_some_lengths() -> None:
    lstm = measured("lstm", *seconds(lambda n: 1e-4 * n, 0.1))
    (found,) = crossovers(lstm, measured("rnn", *seconds(lambda n: 3e-4 * n, 0.1)))
    assert (found.length, found.interval) == (None, None)
    assert found.text == "lstm trains faster than rnn at every length from 32 to 512"
    (found,) = crossovers(lstm, measured("rnn", *seconds(lambda n: 1e-4 * n if n < 256 else 3e-4 * n, 0.1)))
    assert found.text == (
        "lstm trains faster than rnn at lengths 256 and 512; no clear difference at lengths 32, 64 and 128"
    )
    (found,) = crossovers(lstm, measured("rnn", *seconds(lambda n: 3e-4 * n if n < 64 else 1e-4 * n, 0.1)))
    assert "at length 32; no clear difference at lengths 64" in found.text


def test_noise_makes_no_crossover() -> None:
    draw = random.Random(6)
    noisy = [measured(arch, *seconds(lambda n: n * draw.gauss(1, 0.05), 0.25)) for arch in ("lstm", "rnn", "gru")]
    found = crossovers(*noisy)
    assert [(one.a, one.b, one.length) for one in found] == [
        ("lstm", "rnn", None),
        ("lstm", "gru", None),
        ("rnn", "gru", None),
    ]
    first = "no clear difference between lstm and rnn in speed of training at any length from 32 to 512"
    assert found[0].text == first and all(one.text.startswith("no clear difference") for one in found)


def test_the_last_of_several_crossovers_is_told_as_such() -> None:
    flat = measured("lstm", *seconds(lambda n: 1.0))
    (found,) = crossovers(flat, measured("rnn", *seconds(lambda n: 0.5 if n == 128 else 2.0)))
    assert found.text == (
        "lstm trains faster than rnn from about 181 steps on; below, rnn does "
        "(the curves cross 2 times; this is the last)"
    )


def test_memory_state_and_batches_have_words_of_their_own() -> None:
    small = counted("gru", *(point("train_memory", n, 1e6 * n) for n in LENGTHS), point("state", 32, 128.0))
    large = counted("transformer", *(point("train_memory", n, 1e4 * n**2) for n in LENGTHS))
    (found,) = crossovers(small, large)
    assert found.text == (
        "gru needs less memory in training than transformer from about 100 steps on; below, transformer does"
    )
    carried = [counted(arch, *(point("state", n, size) for n in (10, 100))) for arch, size in (("a", 8.0), ("b", 9.0))]
    assert crossovers(*carried)[0].text == "a carries a smaller state than b at every length from 10 to 100"
    none = [counted(arch, *(point("state", n, 0.0) for n in (10, 100))) for arch in ("a", "b")]
    assert crossovers(*none) == () and laws(*none) == ()
    one = measured("gru", *(point("infer", 128, 1e4 * batch, batch=batch) for batch in (1, 2, 4)))
    other = measured("lstm", *(point("infer", 128, 3e4, batch=batch) for batch in (1, 2, 4)))
    found = crossovers(one, other)[0]
    assert (found.curve.along, found.low, found.high) == ("batch", 1, 4)
    assert found.text == "gru evaluates faster than lstm from batches of about 3 sequences on; below, lstm does"


def test_only_like_is_compared_with_like() -> None:
    forms: list[dict[str, Any]] = [{"form": "checkpointed"}, {"threads": 2}, {"track": "reference"}]
    for changes in forms:
        other = [m.model_copy(update=changes) for m in seconds(lambda n: 1e-3 * n)]
        assert crossovers(measured("lstm", *seconds(float)), measured("rnn", *other)) == ()
    alike = [measured(arch, *(m.model_copy(update=forms[0]) for m in seconds(float))) for arch in ("lstm", "rnn")]
    assert crossovers(*alike) == ()


def test_different_machines_are_not_compared() -> None:
    lstm, rnn = seconds(lambda n: 1e-4 * n), seconds(lambda n: 3e-4 * n)
    assert len(crossovers(measured("lstm", *lstm), measured("rnn", *rnn))) == 1
    assert crossovers(measured("lstm", *lstm), measured("rnn", *rnn, name="Other CPU")) == ()
    assert crossovers(measured("lstm", *lstm), measured("rnn", *rnn, versions={"torch": "1.0"})) == ()
    third = measured("gru", *lstm)
    pairs = crossovers(measured("lstm", *lstm), measured("rnn", *rnn, name="Other CPU"), third)
    assert [(one.a, one.b) for one in pairs] == [("lstm", "gru")]


def test_lengths_at_which_one_ran_out_of_memory_are_not_compared() -> None:
    lstm = measured("lstm", *seconds(lambda n: 1e-4 * n))
    cut = [*seconds(lambda n: 1e-6 * n**2, lengths=(32, 64)), *(point("train", n, None) for n in (128, 256, 512))]
    (found,) = crossovers(lstm, measured("transformer", *cut))
    assert (found.low, found.high) == (32, 64)
    assert found.text == "transformer trains faster than lstm at every length from 32 to 64"
    assert crossovers(lstm, measured("transformer", *cut[:1], *cut[2:])) == ()


# ---------------------------------------------------------------- cost and quality


def summary(controls: dict[str, float], **spec: Any) -> TaskSummary:
    return TaskSummary(
        id="digits",
        name="digits",
        title="Digits",
        family="images",
        knob="",
        level=None,
        value="",
        spec=records.Spec(**(planted.SPECS["recall"] | spec)),
        sizes={},
        defects=(),
        data_digest="",
        sources=(),
        controls=(records.Control(name="majority", kind="trivial", metrics=controls),),
        differences=(),
    )


def run(seed: int, steps: int, curve: Sequence[float | None], status: records.Status = "ok") -> records.Result:
    """A look at the validation split every 100 steps."""
    setting = planted.plan({"digits": [{}]}).cells[0]
    points = tuple(
        records.Point(step=100 * n, loss=None, valid=valid, learning_rate=1e-3) for n, valid in enumerate(curve, 1)
    )
    return planted.result(setting, seed, 0.5, "", steps=steps, curve=points, status=status)


def cell(arch: str, mean: float | None, *runs: records.Result, refused: str = "") -> Cell:
    setting = planted.plan({"digits": [{}]}).cells[0]
    tuned = records.Tuned(key="", task="digits", arch=arch, learning_rate=1e-3, border=False, trials=())
    evidence = Evidence(
        task="digits", arch=arch, setting=setting, tuned=tuned, results=runs, provenances=(), commands=()
    )
    return Cell(
        evidence=evidence,
        scores=tuple(None if one.status != "ok" else mean for one in runs),
        counted=(),
        failures={},
        mean=mean,
        interquartile_mean=mean,
        interquartile_interval=None,
        interval=None,
        others={},
        against_control="undecided",
        rank=1,
        refused=refused,
    )


def pace(**step: float | None) -> Pace:
    """Seconds per step by architecture; None: memory ran out."""
    cells = tuple(
        CellTime(arch=arch, step=quantiles(s) if s else None, item=quantiles(s / 100) if s else None)
        for arch, s in step.items()
    )
    return Pace(task="digits", cells=cells, settings={}, provenance=planted.provenance())


def fronts(task: TaskSummary, cells: Sequence[Cell], times: Pace) -> dict[str, Front]:
    return {front.arch: front for front in costs.fronts([task], cells, [times])}


def test_cost_and_quality_by_hand() -> None:
    runs = run(1, 300, [0.2, 0.4, 0.7]), run(2, 400, [0.3, 0.5, 0.5, 0.6]), run(3, 500, [0.1, None, 0.2, 0.3, 0.4])
    found = fronts(summary({"accuracy": 0.1}), [cell("gru", 0.6, *runs)], pace(gru=0.02))["gru"]
    assert found.target == pytest.approx((0.1 + 0.7) / 2)
    assert (found.reached, found.score, found.best) == (3, 0.6, True)
    assert found.seconds == pytest.approx(400 * 0.02)
    assert found.interval == pytest.approx((8 - 4.302653 * 2 / 3**0.5, 8 + 4.302653 * 2 / 3**0.5))
    assert found.to_target == pytest.approx((200 + 200 + 500) / 3 * 0.02)
    assert found.item_ms == pytest.approx(0.2)


def test_runs_that_failed_cost_nothing_and_may_have_reached_the_target() -> None:
    runs = run(1, 300, [0.2, 0.9]), run(2, 100, [0.6, None], "diverged"), run(3, 50, [0.1], "diverged")
    found = fronts(summary({"accuracy": 0.1}), [cell("gru", 0.6, *runs)], pace(gru=1.0))["gru"]
    assert (found.seconds, found.interval) == (300.0, None)
    assert (found.target, found.reached, found.to_target) == (0.5, 2, 150.0)


def test_a_score_to_be_made_small() -> None:
    runs = run(1, 200, [0.8, 0.3]), run(2, 200, [0.9, 0.7])
    task = summary({"mse": 0.9}, metric="mse", direction="min")
    found = fronts(task, [cell("gru", 0.4, *runs)], pace(gru=1.0))["gru"]
    assert (found.target, found.reached, found.to_target) == (pytest.approx(0.6), 1, 200.0)


@pytest.mark.parametrize(
    ("controls", "spec"),
    [({"accuracy": 0.1}, {"selection": "cross_entropy"}), ({"accuracy": 0.95}, {})],
    ids=["the control has no such score", "nobody beats the control"],
)
def test_without_a_target_none_is_reached(controls: dict[str, float], spec: dict[str, Any]) -> None:
    found = fronts(summary(controls, **spec), [cell("gru", 0.4, run(1, 100, [0.9]))], pace(gru=1.0))["gru"]
    assert (found.target, found.reached, found.to_target) == (None, 0, None)


def test_the_best_are_those_that_nobody_beats_in_both() -> None:
    cells = [
        cell("good", 0.9, run(1, 100, [0.9])),
        cell("cheap", 0.5, run(1, 100, [0.5])),
        cell("beaten", 0.5, run(1, 100, [0.5])),
        cell("worse", 0.8, run(1, 100, [0.8])),
        cell("equal", 0.9, run(1, 100, [0.9])),
    ]
    task, times = summary({"accuracy": 0.1}), pace(good=5.0, cheap=1.0, beaten=1.1, worse=6.0, equal=5.0)
    found = fronts(task, cells, times)
    assert [arch for arch, front in found.items() if front.best] == ["good", "cheap", "equal"]
    small = summary({"mse": 0.1}, metric="mse", direction="min")
    assert [arch for arch, front in fronts(small, cells, times).items() if front.best] == ["cheap"]


def test_failed_untimed_and_refused_cells_are_never_best() -> None:
    cells = [
        cell("failed", None, run(1, 10, [None], "diverged")),
        cell("untimed", 0.9, run(1, 100, [0.9])),
        cell("absent", 0.9, run(1, 100, [0.9])),
        cell("refused", 0.99, run(1, 100, [0.99]), refused="sees the future"),
        cell("sound", 0.5, run(1, 100, [0.5])),
    ]
    found = fronts(summary({"accuracy": 0.1}), cells, pace(failed=0.1, untimed=None, refused=0.1, sound=1.0))
    assert [arch for arch, front in found.items() if front.best] == ["sound"]
    assert (found["failed"].seconds, found["failed"].score, found["failed"].item_ms) == (None, None, pytest.approx(1.0))
    for arch in ("untimed", "absent"):
        assert (found[arch].seconds, found[arch].to_target, found[arch].item_ms, found[arch].reached) == (
            *(None, None, None),
            1,
        )
    assert found["sound"].target == pytest.approx((0.1 + 0.9) / 2)


def test_paces_belong_to_their_task() -> None:
    other = pace(gru=1.0).model_copy(update={"task": "another"})
    found = fronts(summary({"accuracy": 0.1}), [cell("gru", 0.6, run(1, 300, [0.6]))], other)["gru"]
    assert (found.seconds, found.item_ms) == (None, None)
