"""Analysis: planted answers come out, planted noise does not, and bad evidence is refused."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
from planted import (
    ARCHS,
    HARDWARE,
    digest,
    fake_archs,
    measured,
    plan,
    provenance,
    result,
    write,
    write_cell,
)
from scipy import stats

from seqbench import analyse, archs, records
from seqbench.analyse import findings, quality, statistics
from seqbench.analyse.findings import number
from seqbench.analyse.summary import Cell, Summary
from seqbench.config import Plan
from seqbench.errors import DataError
from seqbench.measurements import Measured

CLEAR = {"rnn": 0.7, "lstm": 0.3, "gru": 0.3, "transformer": 0.1, "my_arch": 0.95}


def clear(task: str, arch: str, seed: int) -> float:
    """transformer < lstm ~ gru < rnn < my_arch in mse, far apart; on `digits` all alike."""
    base = 0.5 if task == "digits" else CLEAR[arch]
    return base + random.Random(f"{task} {arch} {seed}").gauss(0, 0.01)


@pytest.fixture(scope="module")
def clear_summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return planted.summary(tmp_path_factory.mktemp("clear"), plan(), clear)


@pytest.fixture(autouse=True)
def architectures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archs, "FOLDER", fake_archs(tmp_path / "archs", ARCHS))


def summarised(root: Path, of: Plan, scores: Callable[[str, str, int], float | None]) -> Summary:
    write(root, of, scores)
    return analyse.summarise(of, root)


# ---------------------------------------------------------------- statistics


def test_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    found = [statistics.interval(generator.normal(2.0, 1.0, 20)) or (0, 0) for _ in range(100)]
    assert 86 <= sum(low <= 2.0 <= high for low, high in found) <= 100


def test_interval_of_one_value_of_equal_values_and_of_a_difference() -> None:
    assert statistics.interval([0.5]) is None
    assert statistics.interval([0.5], [0.1, 0.2]) is None
    assert statistics.interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    low, high = statistics.interval([1.0, 1.1, 1.2, 1.3], [0.0, 0.1, 0.2, 0.3]) or (0, 0)
    assert 0.77 < low < 0.78 and 1.22 < high < 1.23


def test_interquartile_mean_by_hand() -> None:
    assert statistics.interquartile_mean([100, 1, 2, 3, 4, 5, 6, -50]) == pytest.approx((2 + 3 + 4 + 5) / 4)


def test_improvement_by_hand() -> None:
    assert statistics.improvement([1, 3], [2, 3]) == pytest.approx((0 + 0 + 1 + 0.5) / 4)
    assert statistics.improvement([-math.inf, 1], [0, 0]) == 0.5


@pytest.mark.parametrize(("seeds", "smallest"), [(3, 0.1), (5, 2 / 252), (7, 2 / 3432)])
def test_smallest_p_is_what_complete_separation_gives(seeds: int, smallest: float) -> None:
    assert statistics.smallest_p(seeds, seeds) == pytest.approx(smallest)
    assert statistics.exact_p(range(seeds), range(10, 10 + seeds)) == pytest.approx(smallest)


def test_exact_p_is_scipys_and_handles_ties() -> None:
    a, b = [1.0, 5.0, 6.0, 9.0], [2.0, 3.0, 7.0, 8.5]
    assert statistics.exact_p(a, b) == pytest.approx(stats.mannwhitneyu(a, b, method="exact").pvalue)
    assert statistics.exact_p([1, 1, 1], [1, 1, 1]) == 1.0
    assert statistics.exact_p([0, 0, 0], [1, 1, 1]) == pytest.approx(0.1)


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert statistics.holm([]) == []


# ---------------------------------------------------------------- verdicts and findings


def test_planted_answer_is_found(clear_summary: Summary) -> None:
    summary = clear_summary
    cell = summary.cell("adding-20", "transformer")
    assert cell.rank == 1
    assert cell.mean == pytest.approx(np.mean([clear("adding-20", "transformer", s) for s in range(1, 8)]))
    assert cell.interval and cell.interval[0] < cell.mean < cell.interval[1]
    assert [c.rank for c in summary.of_task("adding-20")] == [1, 2, 3, 4, 5]
    pair = summary.pair("adding-20", "transformer", "rnn")
    assert (pair.winner, pair.verdict, pair.improvement) == ("transformer", "transformer better than rnn", 1.0)
    assert pair.difference == pytest.approx(-0.6, abs=0.05)
    assert pair.interval and pair.interval[1] < 0
    assert pair.p == pytest.approx(2 / math.comb(14, 7))
    assert pair.p_holm == pytest.approx(30 * 2 / math.comb(14, 7), rel=0.8)
    finding = next(f for f in summary.findings if f.text.startswith("adding-20: transformer"))
    assert "is better than" in finding.text and "7 seeds each" in finding.detail and "p ≤" in finding.detail


def test_planted_noise_gives_no_clear_difference(clear_summary: Summary) -> None:
    summary = clear_summary
    assert {pair.verdict for pair in summary.pairs if pair.task == "digits"} == {"no clear difference"}
    texts = [f.text for f in summary.findings if f.text.startswith("digits")]
    assert texts == [
        "digits: no clear difference between any two architectures",
        "digits: no architecture reaches the strong control, oracle",
    ]
    assert [task.id for task in summary.outdone] == list(summary.plan.task_ids)  # the planted oracle is out of reach


def test_three_seeds_are_not_testable(tmp_path: Path) -> None:
    summary = summarised(tmp_path, plan(seeds=(1, 2, 3)), clear)
    assert {pair.verdict for pair in summary.pairs} == {"not testable with 3 seeds"}
    assert not any(pair.winner for pair in summary.pairs)
    assert summary.design.smallest_p == pytest.approx(0.1)
    assert summary.design.comparisons == len(summary.pairs) == 30
    assert not [f for f in summary.findings if f.kind == "accuracy"]
    assert summary.findings[0].text.startswith("Not testable with 3 seeds")


def test_one_seed_and_one_architecture(tmp_path: Path) -> None:
    summary = summarised(tmp_path, plan({"digits": [{}]}, ("rnn",), (1,)), clear)
    cell = summary.cell("digits", "rnn")
    assert (cell.interval, cell.against_control, summary.pairs) == (None, "undecided", ())


def test_control_not_beaten_is_said(clear_summary: Summary) -> None:
    summary = clear_summary
    verdicts = {cell.arch: cell.against_control for cell in summary.of_task("adding-20")}
    assert verdicts == dict.fromkeys(ARCHS, "better") | {"my_arch": "no better"}
    assert "adding-20: my_arch is no better than mean" in [f.text for f in summary.findings]
    assert ("control", "my_arch") in [(c.kind, c.arch) for c in summary.concerns]


def test_where_higher_is_better_everything_turns(tmp_path: Path) -> None:
    of = plan({"adding": [{"length": 20}]})
    write(tmp_path, of, lambda t, a, s: None if (a, s) == ("rnn", 1) else clear(t, a, s))
    _edit(tmp_path / "prepared/adding-20/manifest.json", lambda data: data["spec"].update(direction="max"))
    for arch in ARCHS:
        path = tmp_path / "runs/adding-20" / arch / "results.json"
        _edit(path, lambda data: [run.update(direction="max", best_step=100) for run in data["results"]])
    summary = analyse.summarise(of, tmp_path)
    ranked = summary.of_task("adding-20")
    assert ranked[0].arch == "my_arch" and ranked[-1].arch == "transformer"
    assert {cell.arch: cell.against_control for cell in ranked}["my_arch"] == "no better"  # the better control has 1.0
    worst = min(clear("adding-20", "transformer", s) for s in of.seeds)
    assert summary.cell("adding-20", "rnn").counted[0] == worst
    pair = summary.pair("adding-20", "my_arch", "transformer")
    assert pair.winner == "my_arch" and pair.difference and pair.difference > 0


def test_failed_seeds_count_as_the_worst_and_stay_visible(tmp_path: Path) -> None:
    def failing(task: str, arch: str, seed: int) -> float | None:
        return None if (arch, task) == ("transformer", "adding-20") and seed > 2 else clear(task, arch, seed)

    summary = summarised(tmp_path, plan(), failing)
    cell = summary.cell("adding-20", "transformer")
    worst = max(1.0, *(clear("adding-20", "my_arch", s) for s in range(1, 8)))
    good = [clear("adding-20", "transformer", s) for s in (1, 2)]
    assert cell.mean == pytest.approx(np.mean([*good, *[worst] * 5]))
    assert cell.failures == {"diverged": 5} and cell.finished == 2 and cell.scores[2:] == (None,) * 5
    assert summary.pair("adding-20", "transformer", "my_arch").improvement == pytest.approx(2 / 7)
    assert sum(c.kind == "failed" and c.arch == "transformer" for c in summary.concerns) == 5


def test_cell_without_a_finished_seed_comes_last(tmp_path: Path) -> None:
    summary = summarised(tmp_path, plan({"digits": [{}]}), lambda t, a, s: None if a == "lstm" else clear(t, a, s))
    cell = summary.cell("digits", "lstm")
    assert (cell.mean, cell.interval, cell.rank, cell.against_control) == (None, None, 5, "no better")
    pair = summary.pair("digits", "gru", "lstm")
    assert (pair.difference, pair.improvement, pair.winner) == (None, 1.0, "gru")
    assert "lstm" not in analyse.metrics(summary)["digits"]


def test_the_interval_of_an_error_ends_at_zero(tmp_path: Path) -> None:
    """Six seeds that solve the task and one that does not: Student's t would go below 0."""
    of = plan({"adding": [{"length": 20}]})
    write(tmp_path, of, lambda task, arch, seed: 0.15 if seed == 1 else 0.001)
    cell = analyse.summarise(of, tmp_path).cell("adding-20", "gru")
    assert cell.interval and cell.interval[0] == 0.0 and cell.interval[1] > 0.07


def test_better_than_the_control_is_beyond_it_by_a_hundredth_of_the_scale(tmp_path: Path) -> None:
    """All seeds share a test split: a constant answer may lie a little on the good side of the control, every time."""
    of = plan({"adding": [{"length": 20}]})
    write(tmp_path, of, clear)
    control = analyse.summarise(of, tmp_path).tasks[0].trivial.metrics["mse"]
    write(tmp_path, of, lambda task, arch, seed: control * (0.995 if arch == "gru" else 0.98) - seed * 1e-6)
    found = {cell.arch: cell.against_control for cell in analyse.summarise(of, tmp_path).cells}
    assert found == dict.fromkeys(ARCHS, "better") | {"gru": "no better"}


def test_cost_findings_name_the_machine_and_the_ratio(clear_summary: Summary) -> None:
    costs = [f for f in clear_summary.findings if f.kind == "cost"]
    assert costs[0].text == "At length 512, rnn had the highest median training throughput"
    assert "8 times transformer [6.55, 9.78]" in costs[0].detail and HARDWARE.name in costs[0].detail
    kernels = dict.fromkeys(one.provenance.kernel for one in clear_summary.measured)
    assert kernels and costs[0].detail.endswith(f"speed is that of the kernels too ({'; '.join(kernels)})")
    said = {f.text: f.detail for f in costs}
    growth = "Activations of a training step grow with length to the power of between 1.00 and 2.00"
    assert "lstm 1.00" in said[growth] and "transformer (naive attention) 2.00" in said[growth]
    streamed = "After 1000 steps a streamed step takes between 1.00 and 100.00 times what it takes after 10"
    assert "transformer 100.00 times, 2 ms" in said[streamed] and "rnn 1.00 times" in said[streamed]
    assert "rnn streams faster than transformer from about 25 steps on [20.5, 30.6]; below, transformer does" in said


def test_an_architecture_that_fails_a_gate_is_named_and_not_ranked(tmp_path: Path) -> None:
    """On tasks of the model that failed; a failure in another model only forbids timing."""
    of = plan({"adding": [{"length": 20}]})
    write(tmp_path, of, clear)
    kinds = planted.spec(of.cell("adding-20", "gru")).kind, "another model"
    path = tmp_path / "measured" / "gates" / "my_arch.json"
    planted.gates("my_arch", kinds, {"causality": "another model"}).write(path)
    ranked = analyse.summarise(of, tmp_path)
    assert ranked.cell("adding-20", "my_arch").rank == 5
    assert [f.anchor for f in ranked.findings if f.kind == "gate"] == ["gates"]
    planted.gates("my_arch", kinds, {"causality": kinds[0]}).write(path)
    summary = analyse.summarise(of, tmp_path)
    refused = summary.cell("adding-20", "my_arch")
    assert refused.rank == 0 and refused.refused.startswith("my_arch fails the gate 'causality' in the model")
    assert [cell.arch for cell in summary.of_task("adding-20")][-1] == "my_arch"
    assert {cell.rank for cell in summary.cells if cell.task == "adding-20"} == {0, 1, 2, 3, 4}
    assert not [pair for pair in summary.pairs if pair.task == "adding-20" and "my_arch" in (pair.a, pair.b)]
    (finding,) = [f for f in summary.findings if f.kind == "gate"]
    assert "my_arch" in finding.text and "it knows what is yet to come" in finding.detail
    assert ("gate", "my_arch") in [(c.kind, c.arch) for c in summary.concerns]
    others = [f for f in summary.findings if f.kind in ("accuracy", "control") and f.text.startswith("adding-20")]
    assert others and not any("my_arch" in f.text for f in others)


def test_gates_of_another_version_are_refused(tmp_path: Path) -> None:
    of = plan({"digits": [{}]})
    write(tmp_path, of, clear)
    path = tmp_path / "measured" / "gates" / "gru.json"
    _edit(path, lambda data: data.update(version=2))
    with pytest.raises(DataError, match="stale") as caught:
        analyse.summarise(of, tmp_path)
    assert caught.value.fix == "check it: seqbench gates gru"


STALE = [
    ("measured/gru.json", lambda d: d.update(core={"layers": 2, "dropout": 0.0}), "other settings of the core"),
    ("measured/gru.json", lambda d: d.update(version=2), "another version of the architecture"),
    ("measured/gru.json", lambda d: d["settings"].update(repetitions=99), "other settings than the plan's"),
    ("measured/counted/gru.json", lambda d: d.update(core={}), "other settings of the core"),
    ("measured/counted/gru.json", lambda d: d.update(version=0), "another version of the architecture"),
    ("measured/counted/gru.json", lambda d: d["settings"].pop("fits"), "other settings than the plan's"),
    ("measured/pace/digits.json", lambda d: d["settings"].update(budget=9.0), "other settings than the plan's"),
    ("measured/reach/digits.json", lambda d: d["cells"][2]["keys"].update({"3": "0" * 64}), "other runs of gru"),
    ("measured/reach/digits.json", lambda d: d["cells"][2]["keys"].pop("3"), "other runs of gru"),
]
AGAIN = {
    "measured/gru.json": "measure it: seqbench measure gru",
    "measured/counted/gru.json": "count it: seqbench count gru",
    "measured/pace/digits.json": "measure it: seqbench pace digits",
    "measured/reach/digits.json": "find it: seqbench reach digits",
}


@pytest.mark.parametrize(("file", "change", "what"), STALE)
def test_stale_measurements_are_refused(tmp_path: Path, file: str, change: Callable[[Any], object], what: str) -> None:
    of = plan({"digits": [{}]}, ("rnn", "lstm", "gru"), (1, 2, 3))
    write(tmp_path, of, clear)
    analyse.summarise(of, tmp_path)
    _edit(tmp_path / file, change)
    with pytest.raises(DataError, match=f"stale: .*{what}") as caught:
        analyse.summarise(of, tmp_path)
    assert file in caught.value.where and caught.value.fix == AGAIN[file]


def test_reach_of_runs_that_failed_is_refused_and_of_seeds_outside_the_plan_left_aside(tmp_path: Path) -> None:
    of = plan({"digits": [{}]}, ("gru",), (1, 2, 3))
    before = summarised(tmp_path, of, clear)
    more = of.model_copy(update={"seeds": (1, 2, 3, 4)})
    found = planted.reaches(of.cell("digits", "gru"), 9, (4,), keys={"4": "0" * 64})

    def add(data: Any) -> None:
        for part in ("reaches", "extrapolations"):
            data["cells"][0][part] += found.plain()[part]
        data["cells"][0]["keys"] |= found.keys
        data["cells"][0]["bits"] |= {"4": 3.0}

    _edit(tmp_path / "measured/reach/digits.json", add)
    after = analyse.summarise(of, tmp_path)
    assert (after.reaches, after.horizons, after.stretches) == (before.reaches, before.horizons, before.stretches)
    write_cell(tmp_path, more, "digits", "gru", lambda task, arch, seed: None if seed == 4 else clear(task, arch, seed))
    with pytest.raises(DataError, match="stale: other runs of gru"):
        analyse.summarise(more, tmp_path)


def test_how_far_a_score_is_held_is_said(clear_summary: Summary) -> None:
    (finding,) = [f for f in clear_summary.findings if f.kind == "reach"]
    assert finding.text.startswith("adding: ") and "90 %" in finding.text
    assert finding.detail.count("90 %") == len(ARCHS) - 1


def test_costs_of_different_machines_are_not_compared(tmp_path: Path) -> None:
    of = plan({"digits": [{}]})
    write(tmp_path, of, clear)
    other = HARDWARE.model_copy(update={"name": "another"})
    measured("gru", 2, hardware=other).write(tmp_path / "measured" / "gru.json")
    summary = analyse.summarise(of, tmp_path)
    said = [f.text for f in summary.findings if f.kind == "cost"]
    assert not [text for text in said if "throughput" in text or "gru" in text]
    assert "rnn streams faster than transformer from about 25 steps on [20.5, 30.6]; below, transformer does" in said
    assert "hardware" in {c.kind for c in summary.concerns}


def test_quality_control_lists_borders_contention_and_local_changes(tmp_path: Path) -> None:
    of = plan({"digits": [{}]})
    write(tmp_path, of, clear)
    place = tmp_path / "tuned" / "digits" / "gru.json"
    _edit(place, lambda data: data.update(border=True))
    _edit(tmp_path / "measured" / "rnn.json", lambda d: d["measurements"][0].update(flags=["contended"]))
    _edit(tmp_path / "measured" / "rnn.json", lambda d: d["measurements"][1].update(value=None, status="out_of_memory"))
    seeds = {str(s): provenance(dirty=True) for s in of.seeds}
    dirty = records.RunProvenances(task="digits", arch="lstm", runs=seeds)
    dirty.write(tmp_path / "runs" / "digits" / "lstm" / "provenance.json")
    slow = planted.pace("digits", ARCHS)
    cells = (slow.cells[0].model_copy(update={"step": None, "item": None, "status": "time_limit"}), *slow.cells[1:])
    slow.model_copy(update={"cells": cells}).write(tmp_path / "measured" / "pace" / "digits.json")
    found = {(c.kind, c.task, c.arch) for c in analyse.summarise(of, tmp_path).concerns}
    assert found >= {
        ("border", "digits", "gru"),
        ("contended", None, "rnn"),
        ("measurement", None, "rnn"),
        ("measurement", "digits", ARCHS[0]),
        ("dirty", "digits", "lstm"),
    }


def test_quality_control_lists_what_is_missing_and_what_cannot_be(tmp_path: Path) -> None:
    of = plan({"digits": [{}]})
    write(tmp_path, of, clear)
    summary = analyse.summarise(of, tmp_path)
    assert "range" not in {c.kind for c in summary.concerns}

    def judged(
        variants: Sequence[Cell] = (), measured: Sequence[Measured] = (), skipped: str = "", **test: float
    ) -> set[tuple[str, str]]:
        runs = tuple(run.model_copy(update={"test": run.test | test}) for run in summary.cells[0].evidence.results[:1])
        evidence = summary.cells[0].evidence.model_copy(update={"results": runs})
        cells = [summary.cells[0].model_copy(update={"evidence": evidence}), *summary.cells[1:]]
        reaches = [one.model_copy(update={"skipped": skipped}) for one in summary.reaches]
        costs = findings.Costs((), measured, (), {}, (), ())
        found = quality.concerns(summary.tasks, cells, variants, costs, (), reaches)
        return {(c.kind, c.text) for c in found if c.kind in ("missing", "range", "failed")}

    first = summary.cells[0].runs[0].seed
    assert judged(accuracy=1.2) == {("range", f"seed {first}: accuracy 1.2 on test")}
    assert judged(perplexity=0.5) == {("range", f"seed {first}: perplexity 0.5 on test")}
    assert judged(accuracy=1.0, mse=1e9) == set()
    meters = [summary.measured[0].model_copy(update={"energy": word}) for word in ("not measured: no meter", "NVML")]
    assert judged(measured=meters) == {("missing", "energy not measured: no meter")}
    assert judged(skipped="too odd") == {("missing", "digits: no horizons and no longer sequences: too odd")}
    burst = summary.cells[0].evidence.results[0].model_copy(update={"status": "diverged", "reason": "inf"})
    setting = summary.cells[0].evidence.setting.model_copy(update={"variant": "loose"})
    evidence = summary.cells[0].evidence.model_copy(update={"results": (burst,), "setting": setting})
    variant = summary.cells[0].model_copy(update={"evidence": evidence})
    (failed,) = judged(variants=[variant])
    assert failed == ("failed", f"{setting.label} on digits: seed {first} ended as diverged: inf")


def test_points_of_an_earlier_commit_are_counted_by_architecture(tmp_path: Path) -> None:
    of = plan({"digits": [{}], "adding": [{"length": 20}]}, ("rnn", "lstm", "gru"), (1, 2))
    write(tmp_path, of, clear)
    folder, now = tmp_path / "measured", provenance().commit

    def commits(*given: str) -> Callable[[Any], object]:
        return lambda d: [one.update(commit=c) for one, c in zip(d["measurements"], given, strict=False)]

    _edit(folder / "rnn.json", commits("old", now, "older", ""))
    _edit(folder / "counted" / "rnn.json", commits(now, "old"))
    for task_id in of.task_ids:
        _edit(folder / "pace" / f"{task_id}.json", lambda d: d["cells"][0].update(commit="old"))
    _edit(folder / "pace" / "digits.json", lambda d: d["cells"][2].update(commit="old"))
    _edit(folder / "lstm.json", commits(now, now))
    summary = analyse.summarise(of, tmp_path)
    of_rnn, _, of_gru = (
        2 + sum(len(one.measurements) for one in (*summary.measured, *summary.counted) if one.arch == arch)
        for arch in of.architectures
    )
    assert [(c.kind, c.arch, c.text) for c in summary.concerns if "commit" in c.text] == [
        ("measurement", "rnn", f"5 of {of_rnn} points were measured by an earlier commit"),
        ("measurement", "gru", f"1 of {of_gru} points were measured by an earlier commit"),
    ]


def test_sentences_on_disturbed_points_say_so(tmp_path: Path, clear_summary: Summary) -> None:
    of = plan({"digits": [{}]})
    write(tmp_path, of, clear)

    def disturb(data: Any) -> None:
        for m in data["measurements"]:
            if (m["quantity"], m["length"], m["threads"]) in (("train", 512, 1), ("stream", 1000, 1)):
                m["flags"] = ["throttled"]

    _edit(tmp_path / "measured" / "transformer.json", disturb)
    said = [f.text + f.detail for f in analyse.summarise(of, tmp_path).findings if f.kind == "cost"]
    noted = [text.split(",")[0] for text in said if "throttled: the machine was not quiet" in text]
    assert noted[0] == "At length 512" and any(text.startswith("After 1000 steps a streamed step") for text in noted)
    assert any(text.startswith("rnn streams faster than transformer from about 25 steps on") for text in noted)
    assert not [f for f in clear_summary.findings if "not quiet" in f.text + f.detail]


def test_summary_survives_json_and_keeps_no_mirror(clear_summary: Summary, tmp_path: Path) -> None:
    summary = clear_summary
    summary.write(tmp_path / "summary.json")
    assert Summary.read(tmp_path / "summary.json", "") == summary
    assert "mirror.example" not in (tmp_path / "summary.json").read_text(encoding="utf-8")
    assert summary.cell("digits", "rnn").evidence.commands[0].startswith("seqbench train digits rnn --seed 1")


# ---------------------------------------------------------------- refusals


def _edit(path: Path, change: Callable[[Any], object]) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def _result(**changes: Any) -> Callable[[Any], object]:
    return lambda data: data["results"][1].update(changes)


@pytest.mark.parametrize(
    ("file", "change", "what"),
    [
        ("runs/digits/gru/results.json", _result(test_reads=2), "read 2 times"),
        ("runs/digits/gru/results.json", _result(test_reads=0), "read 0 times"),
        ("runs/digits/gru/results.json", _result(learning_rate=0.5), "does not match its key"),
        ("runs/digits/gru/results.json", _result(key="0" * 64), "does not match its key"),
        ("runs/digits/gru/results.json", _result(seed=77), "does not match its key|seed 2 is missing"),
        ("runs/digits/gru/results.json", _result(test={}), "without a finite mse"),
        ("runs/digits/gru/results.json", _result(metric="mae"), "scored by mae"),
        ("runs/digits/gru/results.json", _result(best_step=300), "step 300 was taken, the best mse .* of step 200"),
        ("runs/digits/gru/results.json", _result(curve=[]), "without a finite mse on validation"),
        ("runs/digits/gru/results.json", _result(valid={"mae": 0.5}), "without a finite mse on validation"),
        ("runs/digits/gru/results.json", lambda d: d["results"].pop(), "seed 7 is missing"),
        ("runs/digits/gru/results.json", lambda d: d["results"].append(d["results"][0]), "stands twice"),
        ("runs/digits/gru/results.json", lambda d: d.update(arch="rnn"), "holds the cell digits rnn"),
        ("runs/digits/gru/results.json", lambda d: d.update(extra=1), "not a Runs"),
        ("runs/digits/gru/provenance.json", lambda d: d["runs"].pop("3"), "no provenance of seed 3"),
        ("tuned/digits/gru.json", lambda d: d.update(arch="rnn"), "holds the cell digits rnn"),
        ("runs/digits/controls.json", lambda d: d.update(data_digest="x"), "controls of other data"),
        ("runs/digits/controls.json", lambda d: d.update(controls=[]), "no trivial control"),
        ("prepared/digits/manifest.json", lambda d: d.update(settings={"x": 1}), "other settings"),
        ("measured/gru.json", lambda d: d.update(arch="rnn"), "holds measurements of rnn"),
    ],
)
def test_bad_evidence_is_refused(tmp_path: Path, file: str, change: Callable[[Any], object], what: str) -> None:
    of = plan({"digits": [{}]})
    write(tmp_path, of, clear)
    _edit(tmp_path / file, change)
    with pytest.raises(DataError, match=what) as caught:
        analyse.summarise(of, tmp_path)
    assert file in caught.value.where
    assert len(str(caught.value).splitlines()) == 3


def test_stale_runs_are_refused(tmp_path: Path) -> None:
    of = plan({"digits": [{}]})
    write(tmp_path, of, clear)
    longer = tuple(c.model_copy(update={"train": records.TrainSettings(steps=301)}) for c in of.cells)
    with pytest.raises(DataError, match="stale: the setting differs"):
        analyse.summarise(of.model_copy(update={"cells": longer}), tmp_path)
    _edit(tmp_path / "tuned/digits/gru.json", lambda data: data.update(learning_rate=0.01))
    with pytest.raises(DataError, match="stale: the learning rate"):
        analyse.summarise(of, tmp_path)
    (archs.FOLDER / "rnn.py").write_text("VERSION = 2\nSETTINGS = {'layers': 1, 'dropout': 0.0}\n", encoding="utf-8")
    with pytest.raises(DataError, match="stale: the version of the core"):
        analyse.summarise(of, tmp_path)


def test_runs_on_other_data_are_refused(tmp_path: Path) -> None:
    of = plan({"digits": [{}]})
    write(tmp_path, of, clear)
    setting = of.cell("digits", "rnn")
    runs = tuple(result(setting, seed, 0.5, "other data") for seed in of.seeds)
    path = tmp_path / "runs" / "digits" / "rnn" / "results.json"
    records.Runs(task="digits", arch="rnn", results=runs).write(path)
    with pytest.raises(DataError, match="data_digest differs"):
        analyse.summarise(of, tmp_path)


def test_seeds_outside_the_plan_are_left_aside(tmp_path: Path) -> None:
    of = plan({"digits": [{}]})
    write(tmp_path, of, clear)
    before = analyse.table(analyse.summarise(of, tmp_path))
    setting = of.cell("digits", "rnn")
    extra = result(setting, 99, 0.0, digest("digits"))
    _edit(tmp_path / "runs/digits/rnn/results.json", lambda data: data["results"].insert(0, extra.plain()))
    assert analyse.table(analyse.summarise(of, tmp_path)).equals(before)


# ---------------------------------------------------------------- tables


def test_results_table_is_stable_and_free_of_clock_and_host(tmp_path: Path) -> None:
    of = plan(seeds=(1, 2, 3))
    first = analyse.table(summarised(tmp_path, of, clear)).to_csv(index=False)
    for task in of.task_ids:
        for arch in of.architectures:
            later = provenance(started="2030-01-01T00:00:00Z", commit="f" * 16, load_before=3.0)
            runs = {str(s): later for s in of.seeds}
            records.RunProvenances(task=task, arch=arch, runs=runs).write(
                tmp_path / "runs" / task / arch / "provenance.json"
            )
    assert analyse.table(analyse.summarise(of, tmp_path)).to_csv(index=False) == first
    lines = first.splitlines()
    assert len(lines) == 1 + 3 * 5 * 3
    assert repr(clear("digits", "gru", 3)) in first
    assert lines[1:] == sorted(lines[1:])


def test_failed_runs_have_a_row_without_a_score(tmp_path: Path) -> None:
    of = plan({"digits": [{}]}, ("rnn", "gru"))
    summary = summarised(tmp_path, of, lambda t, a, s: None if a == "gru" else clear(t, a, s))
    frame = analyse.table(summary).set_index(["arch", "seed"])
    assert frame.loc[("gru", 3), "status"] == "diverged" and np.isnan(frame.loc[("gru", 3), "score"])
    assert frame.loc[("rnn", 3), "score"] == clear("digits", "rnn", 3)


def test_metrics_and_curves(tmp_path: Path) -> None:
    summary = summarised(tmp_path, plan({"digits": [{}]}, ("rnn", "gru"), (1, 2)), clear)
    assert analyse.metrics(summary) == {
        "digits": {a: np.mean([clear("digits", a, s) for s in (1, 2)]) for a in ("rnn", "gru")}
    }
    curves = analyse.curves(summary)
    assert list(curves.columns) == ["task", "arch", "seed", "step", "valid", "loss", "valid_metric", "valid_direction"]
    assert len(curves) == 2 * 2 * 3 and list(curves["step"][:3]) == [100, 200, 300]


# ---------------------------------------------------------------- chosen by one score, ranked by another


def translation(task: str, arch: str, seed: int) -> float | None:
    """bleu; the first seed of gru fails, the third writes nothing that matches."""
    if arch == "gru" and seed in (1, 3):
        return None if seed == 1 else 0.0
    return 20.0 + 5 * ARCHS.index(arch) + seed


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    of = plan(
        {"multi30k": [{"connection": "none"}, {"connection": "attention"}], "digits": [{}]}, ("rnn", "gru"), (1, 2, 3)
    )
    return planted.summary(
        tmp_path_factory.mktemp("chosen"), of, lambda t, a, s: 0.5 if t == "digits" else translation(t, a, s)
    )


def test_validation_columns_are_of_the_score_that_was_watched(chosen: Summary) -> None:
    frame = analyse.table(chosen).set_index(["task", "arch", "seed"])
    row = frame.loc[("multi30k-none", "rnn", 2)]
    assert (row["metric"], row["direction"], row["score"]) == ("bleu", "max", 22.0)
    assert (row["valid_metric"], row["valid_direction"]) == ("cross_entropy", "min")
    assert row["valid_score"] == row["test_cross_entropy"] == pytest.approx(5 - 2.2)
    assert np.isnan(frame.loc[("multi30k-none", "gru", 1), "valid_score"])
    assert frame.loc[("digits", "rnn", 2), "valid_metric"] == "mse"
    curves = analyse.curves(chosen)
    own = curves[(curves.task == "multi30k-none") & (curves.arch == "rnn") & (curves.seed == 2)]
    assert list(own["valid"]) == pytest.approx([1.5 * 2.8, 2.8, 1.5 * 2.8]) and set(own["valid_direction"]) == {"min"}


def test_every_test_metric_has_a_column(chosen: Summary) -> None:
    frame = analyse.table(chosen)
    names = {"bleu", "bleu_greedy", "chrf", "chrf_greedy", "cross_entropy", "mse", "mae"}
    assert {name for name in frame.columns if name.startswith("test_")} == {f"test_{name}" for name in names}
    done = frame[frame.status == "ok"]
    for row in done.to_dict("records"):
        assert row["score"] == row[f"test_{row['metric']}"]
    assert done[done.task == "digits"]["test_bleu"].isna().all()
    assert set(frame[frame.task == "multi30k-none"]["scorer"]) == {"nrefs:1|case:mixed|tok:13a|version:2.6.0"}


def test_other_metrics_are_over_the_seeds_that_finished(chosen: Summary) -> None:
    cell = chosen.cell("multi30k-none", "gru")
    assert cell.counted == (0.0, 32.0, 0.0) and "bleu" not in cell.others  # a failed seed counts as the worst score
    chrf = cell.others["chrf"]
    assert (chrf.seeds, chrf.mean) == (2, pytest.approx((52 + 20) / 2))
    assert chrf.interval == pytest.approx(statistics.interval([52, 20]))
    assert chosen.cell("digits", "rnn").others["mae"].interval == (0.25, 0.25)


def test_levels_of_a_knob_are_numbers_or_words(chosen: Summary, clear_summary: Summary) -> None:
    assert [(task.level, task.value) for task in chosen.tasks] == [(None, "none"), (None, "attention"), (None, "")]
    assert [(task.level, task.value) for task in clear_summary.tasks] == [(20.0, "20"), (50.0, "50"), (None, "")]


def test_a_run_chosen_by_the_ranking_score_instead_is_refused(tmp_path: Path) -> None:
    of = plan({"multi30k": [{"connection": "none"}]}, ("rnn",), (1, 2))
    write(tmp_path, of, translation)
    shutil.copy("data/sources.toml", tmp_path)
    analyse.summarise(of, tmp_path)
    place = tmp_path / "runs/multi30k-none/rnn/results.json"
    _edit(place, lambda data: data["results"][1].update(valid={"bleu": 25.0}))
    with pytest.raises(DataError, match="without a finite cross_entropy on validation"):
        analyse.summarise(of, tmp_path)
    _edit(place, lambda data: data["results"][1].update(valid={"cross_entropy": 2.0}, best_step=100))
    with pytest.raises(DataError, match="step 100 was taken, the best cross_entropy on validation is that of step 200"):
        analyse.summarise(of, tmp_path)


def test_numbers_have_three_digits_and_no_more_than_nine_places() -> None:
    assert [number(value) for value in (35.4321, 123.456, 0.0001234, 1234.5, 987_654_321.0, 2.5e15, 0.0)] == [
        *("35.4", "123", "0.000123", "1,230", "988,000,000", "2.5e+15", "0")
    ]
