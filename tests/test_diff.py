"""`seqbench diff`: planted differences are found and named, noise is not; bad input is three lines."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
from scipy import stats

from seqbench import analyse, cli, files, records
from seqbench.analyse import cost_ratios, result_sets, statistics, verdicts
from seqbench.analyse.difference import Difference, compare
from seqbench.analyse.drift import Drift, drifts
from seqbench.analyse.result_sets import Entry, ResultSet, Run
from seqbench.analyse.summary import Cell, Evidence, Summary
from seqbench.cli import differences
from seqbench.errors import DIFFERENT, DataError, InputError

ARCHS = ("rnn", "lstm", "gru")
TASKS = {"adding": [{"length": 20}], "recall": [{"pairs": 4}]}
IDS = ("adding-20", "recall-4")
SEEDS = (1, 2, 3, 4, 5)
Scores = planted.Scores


def noisy(draw: int, shift: dict[tuple[str, str], float] | None = None) -> Scores:
    """rnn, lstm and gru at 0.3, 0.4 and 0.5, seeds 0.01 around that; `shift` moves cells."""

    def score(task: str, arch: str, seed: int) -> float:
        generator = np.random.default_rng([draw, seed, *map(ord, task + arch)])
        base = 0.3 + 0.1 * ARCHS.index(arch) + (shift or {}).get((task, arch), 0.0)
        return float(base + 0.01 * generator.standard_normal())

    return score


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    found = planted.summary(tmp_path_factory.mktemp("base"), planted.plan(TASKS, ARCHS, SEEDS), noisy(1))
    return again(found, noisy(1))  # with weights that hang on the score


def again(
    of: Summary,
    scores: Scores,
    seeds: tuple[int, ...] = SEEDS,
    data: Callable[[str], str] = planted.digest,
    setting: Callable[[records.Setting], records.Setting] = lambda one: one,
    **changes: Any,
) -> Summary:
    """The same summary with other runs; `changes` go into every result."""
    plan = of.plan.model_copy(update={"seeds": seeds})
    tasks = tuple(task.model_copy(update={"data_digest": data(task.id)}) for task in of.tasks)
    cells: list[Cell] = []
    for task in tasks:
        runs = [
            _evidence(cell.evidence, scores, seeds, data(task.id), setting, changes)
            for cell in of.cells
            if cell.task == task.id
        ]
        cells += verdicts.cells(task, runs, {gates.arch: gates for gates in of.gates})
    pairs = verdicts.pairs(tasks, cells, verdicts.design(plan))
    return of.model_copy(update={"plan": plan, "tasks": tasks, "cells": tuple(cells), "pairs": pairs})


def _evidence(
    of: Evidence,
    scores: Scores,
    seeds: tuple[int, ...],
    data: str,
    setting: Callable[[records.Setting], records.Setting],
    changes: dict[str, Any],
) -> Evidence:
    own = setting(of.setting)
    results = []
    for seed in seeds:
        score = scores(of.task, of.arch, seed)
        weights = {"weights_sha256": "" if score is None else files.digest([of.task, of.arch, seed, score])}
        results.append(planted.result(own, seed, score, data, **(weights | changes)))
    return of.model_copy(
        update={
            "setting": own,
            "results": tuple(results),
            "provenances": (of.provenances[0],) * len(seeds),
            "commands": (of.commands[0],) * len(seeds),
        }
    )


def as_set(of: Summary, folder: Path) -> ResultSet:
    of.write(folder / "summary.json")
    return result_sets.read(folder)


def as_table(of: Summary, path: Path) -> Path:
    files.write_text(path, analyse.table(of).to_csv(index=False, lineterminator="\n"))
    return path


def difference(a: Summary, b: Summary, folder: Path) -> Difference:
    return compare(as_set(a, folder / "a"), as_set(b, folder / "b"))


def said(of: Difference, everything: bool = False) -> str:
    return "\n".join(differences.lines(of, everything))


def by_verdict(of: Difference, verdict: str) -> list[tuple[str, str]]:
    return [(one.task, one.arch) for one in of.drifts if one.verdict == verdict]


# ---------------------------------------------------------------- what is the same, what drifts


def test_the_same_set_has_no_difference(base: Summary, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two copies, of a set and itself, and of its summary and its table."""
    for name in ("a", "b"):
        base.write(tmp_path / name / "data" / "summary" / "summary.json")
        as_table(base, tmp_path / name / "reports" / "results.csv")
    a, b = tmp_path / "a", tmp_path / "b"
    places = [
        b,
        b / "data",
        b / "data/summary",
        b / "reports",
        b / "data/summary/summary.json",
        b / "reports/results.csv",
    ]
    for place in places:
        assert cli.main(["diff", str(a), str(place)]) == 0
        text = capsys.readouterr().out
        assert text.endswith("\nNothing differs beyond noise.\n")
        assert "SCORES of 6 cells: 6 equal" in text and "RANKS: changed on 0 of 2 tasks" in text
        assert "30 in both; 30 equal to the bit" in text and "VERDICTS: 0 changed" in text
        assert "DIFFERENT" not in text and "rnn" not in text
        assert max(map(len, text.splitlines())) <= max(
            80, len(f"B  {place}/data/summary/summary.json  6 cells, 30 runs")
        )
    assert cli.main(["diff", str(a), str(b), "--all"]) == 0
    text = capsys.readouterr().out
    assert text.count("  equal\n") == 6 and text.count(" A  rnn > lstm > gru") == 1 and "within\n" in text
    assert "seeds: same in 6 cells: 1 2 3 4 5" in text


def test_a_shifted_task_drifts_and_its_ranks_change(base: Summary, tmp_path: Path) -> None:
    """The gru of one task becomes the best: that cell alone drifts, by the shift, and turns round told pairs."""
    found = difference(base, again(base, noisy(1, {("adding-20", "gru"): -0.3})), tmp_path)
    assert by_verdict(found, "drift") == [("adding-20", "gru")] and len(by_verdict(found, "equal")) == 5
    (one,) = (one for one in found.drifts if one.verdict == "drift")
    assert one.difference == pytest.approx(-0.3) and one.toward == "better" and one.method == "paired"
    order = next(order for order in found.orders if order.task == "adding-20")
    assert order.a == ("rnn", "lstm", "gru") and order.b == ("gru", "rnn", "lstm")
    assert order.moved == {"rnn": (1, 2), "lstm": (2, 3), "gru": (3, 1)}
    assert {(swap.a, swap.b, swap.turned) for swap in order.swaps} == {("rnn", "gru", True), ("lstm", "gru", True)}
    assert not next(order for order in found.orders if order.task == "recall-4").moved
    assert {(v.kind, v.name, v.a, v.b, v.certain) for v in found.verdicts if v.kind == "winner"} == {
        ("winner", "adding-20: gru and rnn", "rnn better", "gru better", True),
        ("winner", "adding-20: gru and lstm", "lstm better", "gru better", True),
    }
    text = said(found)
    assert "RANKS: changed on 1 of 2 tasks" in text and "B  gru > rnn > lstm" in text
    assert "Beyond noise: 1 cell drifted: adding-20 gru (better)" in text
    assert "rnn before gru in A, behind it in B: TURNED, told from chance in both" in text
    assert found.beyond_noise and "recall-4" not in "".join(found.beyond_noise)


def test_a_drift_towards_worse_is_called_so_in_both_directions(base: Summary, tmp_path: Path) -> None:
    """Of an error (min) more is worse, of an accuracy (max) less."""
    found = difference(base, again(base, noisy(2, {("adding-20", "rnn"): 0.2, ("recall-4", "rnn"): -0.2})), tmp_path)
    assert by_verdict(found, "drift") == [("adding-20", "rnn"), ("recall-4", "rnn")]
    assert {one.toward for one in found.drifts if one.verdict == "drift"} == {"worse"}
    assert said(found).count("DRIFT, worse") == 2


def test_noise_drawn_again_is_no_drift(base: Summary, tmp_path: Path) -> None:
    found = difference(base, again(base, noisy(2)), tmp_path)
    assert by_verdict(found, "drift") == [] and len(by_verdict(found, "within noise")) == 6
    assert not found.beyond_noise
    assert found.runs.bit_equal == 0 and found.runs.strayed == found.runs.same_key == 30
    assert "NOT REPRODUCED" in said(found)  # on the same machine the same key must give the same


def normal(generator: np.random.Generator, n: int) -> list[float]:
    return generator.normal(0.5, 0.1, n).tolist()


def few_items(generator: np.random.Generator, n: int) -> list[float]:
    """An accuracy over 50 items: seeds often agree."""
    return (generator.binomial(50, 0.96, n) / 50).tolist()


def entry(task: str, arch: str, scores: list[float | None], data: str = "0" * 64) -> Entry:
    runs = {
        seed: Run(seed, "diverged" if score is None else "ok", score, "", "", data, 1e-3, "")
        for seed, score in enumerate(scores, 1)
    }
    return Entry(task, arch, "accuracy", "max", runs, 0, None, {})


def many(draw: Callable[[np.random.Generator, int], list[float]], paired: bool, seeds: int, times: int) -> float:
    """Share of so many comparisons of 8 cells, with no difference anywhere, in which any cell drifts."""
    generator = np.random.default_rng(1)
    false = 0
    for _ in range(times):
        pairs = []
        for place in range(8):
            own = f"task{place % 4}", f"arch{place // 4}"
            left, right = draw(generator, seeds), draw(generator, seeds)
            pairs.append((entry(*own, [*left]), entry(*own, [*right], data=("0" if paired else "1") * 64)))
        false += any(one.verdict == "drift" for one in drifts(pairs, {}))
    return false / times


@pytest.mark.parametrize("draw", [normal, few_items])
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("seeds", [3, 7])
def test_no_difference_is_called_drift_in_at_most_5_percent(
    draw: Callable[[np.random.Generator, int], list[float]], paired: bool, seeds: int
) -> None:
    times = 200
    assert many(draw, paired, seeds, times) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / times)


# ---------------------------------------------------------------- the test


def one_drift(a: list[float | None], b: list[float | None], **changes: Any) -> Drift:
    (found,) = drifts([(entry("t", "x", a), entry("t", "x", b, **changes))], {})
    return found


def test_p_and_interval_are_those_of_scipy() -> None:
    a, b = [0.51, 0.52, 0.49, 0.55], [0.56, 0.53, 0.58, 0.6]
    paired, welch = one_drift([*a], [*b]), one_drift([*a], [*b], data="1" * 64)
    for one, found, expected in (
        (paired, "paired", stats.ttest_rel(b, a)),
        (welch, "Welch", stats.ttest_ind(b, a, equal_var=False)),
    ):
        assert one.method == found and one.difference == pytest.approx(np.mean(b) - np.mean(a))
        assert one.p == one.p_holm == pytest.approx(expected.pvalue)
        assert one.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert welch.interval == statistics.interval(b, a)


def test_other_seeds_are_compared_by_welch() -> None:
    found = one_drift([0.5, 0.52, 0.51], [0.5, 0.52, 0.51, 0.53])
    assert (found.method, found.seeds_a, found.seeds_b, found.verdict) == ("Welch", 3, 4, "within noise")


def test_holm_goes_over_all_cells() -> None:
    """One p of about 0.02 is a drift alone, and none among twenty cells."""
    a, b = entry("t", "x", [0.5, 0.52, 0.51]), entry("t", "x", [0.54, 0.58, 0.56])
    (alone,) = drifts([(a, b)], {})
    assert alone.verdict == "drift" and 0.01 < (alone.p or 0) < 0.05
    rest = [(entry(f"t{n}", "x", [0.1, 0.2, 0.3]),) * 2 for n in range(19)]
    among = drifts([(a, b), *rest], {})[0]
    assert among.verdict == "within noise" and among.p == alone.p
    assert among.p_holm == pytest.approx(20 * (alone.p or 0))


def test_seeds_that_all_agree_are_judged_by_the_spread_of_the_task() -> None:
    """Without it, an item less in each of three seeds would be certain."""
    steady = (entry("t", "x", [0.9, 0.9, 0.9]), entry("t", "x", [0.88, 0.88, 0.88]))
    fell = (entry("t", "z", [1.0, 1.0, 1.0]), entry("t", "z", [0.5, 0.5, 0.5]))
    varied = (entry("t", "y", [0.9, 0.94, 0.92]), entry("t", "y", [0.92, 0.9, 0.93]))
    small, large, _ = drifts([steady, fell, varied], {})
    assert small.borrowed and small.verdict == "within noise" and small.interval is not None
    assert small.interval[0] < -0.02 < small.interval[1] and small.interval[1] > 0
    assert large.borrowed and large.verdict == "drift"
    spread = float(np.std(np.subtract([0.92, 0.9, 0.93], [0.9, 0.94, 0.92]), ddof=1))
    assert large.p == pytest.approx(2 * stats.t.sf(0.5 / (spread / math.sqrt(3)), 2))
    (alone,) = drifts([fell], {})
    assert alone.verdict == "drift" and not alone.borrowed and alone.interval == (-0.5, -0.5)


def test_one_seed_cannot_be_tested() -> None:
    other = one_drift([0.5], [0.6])
    assert (other.verdict, other.interval, other.p, other.note) == ("not testable", None, None, "one seed")
    assert one_drift([0.5], [0.5]).verdict == "equal"


def test_failed_runs_count_as_the_worst_seen_on_either_side() -> None:
    """Also where only the other side, or a trivial control, was as bad; a cell that never finishes is told apart."""
    a, b = entry("t", "x", [0.9, None, 0.8]), entry("t", "x", [0.9, None, 0.8])
    worse = entry("t", "y", [0.2, 0.3, 0.4])
    same, _ = drifts([(a, b), (worse, worse)], {})
    assert same.verdict == "equal" and same.mean_a == same.mean_b == pytest.approx((0.9 + 0.2 + 0.8) / 3)
    (low,) = drifts([(a, b)], {("t", "accuracy"): [0.1], ("t", "mse"): [0.0]})
    assert low.mean_a == pytest.approx((0.9 + 0.1 + 0.8) / 3)
    dead = one_drift([0.5, 0.6], [None, None])
    assert dead.verdict == "no finished run" and dead.differs and (dead.mean_a, dead.mean_b) == (0.55, None)
    assert one_drift([None, None], [None, None]).verdict == "equal"


# ---------------------------------------------------------------- circumstances


def test_other_data_are_said_before_everything_else(base: Summary, tmp_path: Path) -> None:
    """And the two are then not paired."""
    mixed = again(base, noisy(1), data=lambda task: "f" * 64 if task == "recall-4" else planted.digest(task))
    found = difference(base, mixed, tmp_path / "mixed")
    first = found.circumstances[0]
    assert (first.kind, first.same, first.where, first.of) == ("data", False, ("recall-4",), 2)
    assert (first.a, first.b) == (planted.digest("recall-4"), "f" * 64)
    lines = [line for line in said(found).splitlines() if line]
    assert lines[2] == "CIRCUMSTANCES: NOT THE SAME in data digest"
    assert lines[3:6] == [
        "  data digest: DIFFERENT",
        f"    recall-4: {first.a[:12]} -> ffffffffffff",
        "  seeds: same in 6 cells",
    ]
    assert {one.method for one in found.drifts if one.task == "recall-4"} == {"Welch"}
    assert {one.method for one in found.drifts if one.task == "adding-20"} == {"paired"}
    every = difference(base, again(base, noisy(1), data=lambda task: "e" * 64), tmp_path / "every")
    assert [(one.where, one.b) for one in every.circumstances if one.kind == "data"] == [
        ((task,), "e" * 64) for task in IDS
    ]


def test_seeds_settings_versions_and_rates_that_differ_are_said_with_their_cells(base: Summary, tmp_path: Path) -> None:
    longer = records.TrainSettings(steps=600)

    def change(one: records.Setting) -> records.Setting:
        return one.model_copy(update={"train": longer} if one.task == "recall" else {})

    other = again(
        base,
        noisy(1),
        seeds=(1, 2, 3),
        setting=change,
        versions=records.Versions(task=1, core=2),
        learning_rate=3e-3,
    )
    found = difference(base, other, tmp_path)
    told = {(one.kind, one.what): one for one in found.circumstances if not one.same}
    assert {(kind, what) for kind, what in told} == {
        ("seeds", ""),
        ("setting", "train.steps"),
        ("version", "core file"),
        ("learning rate", ""),
    }
    steps = told["setting", "train.steps"]
    assert (steps.a, steps.b) == ("300", "600") and steps.where == ("recall-4 rnn", "recall-4 lstm", "recall-4 gru")
    assert (told["seeds", ""].a, told["seeds", ""].b) == ("1 2 3 4 5", "1 2 3")
    text = said(found)
    assert "CIRCUMSTANCES: NOT THE SAME in seeds, settings and versions" in text
    assert "    train.steps: recall-4: 300 -> 600\n" in text  # all its cells: the task alone
    assert "    all 6 cells: 1 2 3 4 5 -> 1 2 3\n" in text
    assert {one.method for one in found.drifts} == {"Welch"} and not found.beyond_noise


def moved(of: Summary, commit: str, hardware: records.Hardware) -> Summary:
    """Trained and measured elsewhere."""

    def elsewhere(made: records.Provenance) -> records.Provenance:
        return made.model_copy(update={"commit": commit, "hardware": hardware})

    cells = tuple(
        cell.model_copy(
            update={
                "evidence": cell.evidence.model_copy(
                    update={"provenances": tuple(map(elsewhere, cell.evidence.provenances))}
                )
            }
        )
        for cell in of.cells
    )
    groups = ("gates", "measured", "counted", "paces", "reaches")
    rest = {
        name: tuple(one.model_copy(update={"provenance": elsewhere(one.provenance)}) for one in getattr(of, name))
        for name in groups
    }
    return of.model_copy(update={"cells": cells} | rest)


def test_commit_machine_and_libraries_that_differ_are_said_and_are_no_difference_of_results(
    base: Summary, tmp_path: Path
) -> None:
    other = planted.HARDWARE.model_copy(update={"name": "Other CPU", "versions": {"python": "3.11", "torch": "2.14"}})
    found = difference(base, moved(base, "fedcba9876543210", other), tmp_path)
    told = {(one.kind, one.what): (one.a, one.b) for one in found.circumstances if not one.same}
    assert told["commit", "training"] == ("0123456789ab", "fedcba987654")
    assert told["library", "torch"] == ("2.13", "2.14") and ("library", "python") not in told
    assert "Other CPU" in told["machine", "measuring"][1]
    assert not found.costs and len(found.other_machines) == 2 * len(ARCHS) + len(IDS)
    text = said(found)
    assert "CIRCUMSTANCES: the same data, seeds, settings and versions" in text
    assert "COSTS of 0 points" in text and "on different machines, not compared: times of rnn" in text
    assert not found.beyond_noise


def test_keys_say_for_a_table_whether_settings_are_the_same(base: Summary, tmp_path: Path) -> None:
    a = result_sets.read(as_table(base, tmp_path / "a.csv"))
    same = compare(a, result_sets.read(as_table(base, tmp_path / "b.csv")))
    assert "(all keys of runs are equal)" in " ".join(said(same).split()) and not same.beyond_noise
    other = again(base, noisy(1), setting=lambda one: one.model_copy(update={"parameters": 7000}))
    found = compare(a, result_sets.read(as_table(other, tmp_path / "c.csv")))
    assert "NOT THE SAME settings, rates or versions (30 of 30 runs have another key)" in " ".join(said(found).split())
    assert "A and B are tables of runs" in said(found)


# ---------------------------------------------------------------- cells, runs, verdicts, costs


def test_cells_of_one_side_alone_are_named(base: Summary, tmp_path: Path) -> None:
    few = base.model_copy(
        update={"cells": tuple(cell for cell in base.cells if (cell.task, cell.arch) != (IDS[1], "gru"))}
    )
    found = difference(base, few, tmp_path)
    assert (found.only_a, found.only_b) == (((IDS[1], "gru"),), ()) and len(found.drifts) == 5
    assert found.beyond_noise == ("1 cell only in A: recall-4 gru",)
    assert "ONLY IN A: recall-4 gru" in said(found)
    turned = compare(as_set(few, tmp_path / "b"), as_set(base, tmp_path / "a"))
    assert turned.beyond_noise == ("1 cell only in B: recall-4 gru",)
    none = difference(base, base.model_copy(update={"cells": ()}), tmp_path / "none")
    assert "NOTHING TO COMPARE" in said(none) and none.beyond_noise


def test_runs_that_ended_otherwise_are_listed(base: Summary, tmp_path: Path) -> None:
    def fails(task: str, arch: str, seed: int) -> float | None:
        return None if (task, arch, seed) == (IDS[0], "lstm", 2) else noisy(1)(task, arch, seed)

    found = difference(base, again(base, fails), tmp_path)
    (change,) = found.runs.status
    assert (change.task, change.arch, change.seed, change.a, change.b) == (IDS[0], "lstm", 2, "ok", "diverged")
    assert found.runs.bit_equal == 29
    text = said(found)
    assert "adding-20 lstm seed 2: ok -> diverged" in text and "failed runs: 0 of 5 in A, 1 of 5 in B" in text


def test_the_same_weights_with_another_score_are_a_difference(base: Summary, tmp_path: Path) -> None:
    """Nothing random lies between weights and score; the last digits may be rounded otherwise."""

    def but(factor: float) -> Summary:
        cells = list(base.cells)
        results = list(cells[0].evidence.results)
        metric = results[0].metric
        score = results[0].test[metric] * factor
        results[0] = results[0].model_copy(update={"test": results[0].test | {metric: score}})
        evidence = cells[0].evidence.model_copy(update={"results": tuple(results)})
        cells[0] = cells[0].model_copy(update={"evidence": evidence, "scores": (score, *cells[0].scores[1:])})
        return base.model_copy(update={"cells": tuple(cells)})

    rounded = difference(base, but(1 + 1e-9), tmp_path / "rounded")
    assert not rounded.runs.rescored and not rounded.beyond_noise and rounded.runs.bit_equal == 29
    found = difference(base, but(1.001), tmp_path / "other")
    (run,) = found.runs.rescored
    assert (run.task, run.arch, run.seed) == (base.cells[0].task, base.cells[0].arch, 1)
    assert found.beyond_noise == ("1 run with the same weights and another score",)
    assert "the same weights, ANOTHER SCORE:" in said(found)


def test_verdicts_that_change_are_listed_and_those_that_contradict_count(base: Summary, tmp_path: Path) -> None:
    def judged(claim: str, row: str) -> Summary:
        first, *claims = base.claims
        top, *rows = base.ledger
        return base.model_copy(
            update={
                "claims": (first.model_copy(update={"verdict": claim}), *claims),
                "ledger": (top.model_copy(update={"verdict": row}), *rows),
            }
        )

    found = difference(judged("supported", "undecided"), judged("refuted", "reproduced"), tmp_path)
    claim, row = found.verdicts
    assert (claim.kind, claim.a, claim.b, claim.certain) == ("claim", "supported", "refuted", True)
    assert (row.kind, row.a, row.b, row.certain) == ("published", "undecided", "reproduced", False)
    assert row.name == base.ledger[0].name
    assert len(found.beyond_noise) == 1 and base.claims[0].title in found.beyond_noise[0]
    assert "(supported -> refuted)" in found.beyond_noise[0]
    chance = difference(judged("supported", "undecided"), judged("undecided", "undecided"), tmp_path / "chance")
    assert len(chance.verdicts) == 1 and not chance.beyond_noise
    text = " ".join(said(chance).split())
    assert f"{base.claims[0].title}: {base.claims[0].part}: supported -> undecided" in text


def test_gates_and_controls_have_no_chance(base: Summary, tmp_path: Path) -> None:
    models = tuple(dict.fromkeys(check.model for check in base.gates[0].checks))
    failed = planted.gates("rnn", models, {"padding": models[0]})
    task, *others = base.tasks
    control, *rest = task.controls
    raised = control.model_copy(update={"metrics": {task.spec.metric: 0.875}})
    other = base.model_copy(
        update={
            "gates": (failed, *base.gates[1:]),
            "tasks": (task.model_copy(update={"controls": (raised, *rest)}), *others),
        }
    )
    found = difference(base, other, tmp_path)
    assert {(v.kind, v.a, v.b, v.certain) for v in found.verdicts} == {
        ("gate", "passed", "failed", True),
        ("control score", f"{control.metrics[task.spec.metric]:g}", "0.875", True),
    }
    assert found.beyond_noise[0].startswith("2 verdicts turned round, or changed with nothing random in it: ")


def test_costs_are_ratios_and_those_outside_their_spread_are_marked(base: Summary, tmp_path: Path) -> None:
    """rnn trains at half the rate, lstm needs twice the state; a time within the quartiles is not marked."""

    def scaled(one: Any, quantity: str, factor: float) -> Any:
        def change(m: Any) -> Any:
            if m.quantity != quantity:
                return m
            value = m.value.model_copy(
                update={key: getattr(m.value, key) * factor for key in ("median", "q25", "q75", "p99")}
            )
            return m.model_copy(update={"value": value})

        return one.model_copy(update={"measurements": tuple(map(change, one.measurements))})

    rnn, lstm, gru = base.measured
    slower = base.model_copy(update={"measured": (scaled(rnn, "train", 0.5), lstm, scaled(gru, "stream", 1.05))})
    found = difference(base, slower, tmp_path / "times")
    outside = [one for one in found.costs if one.outside]
    assert outside and {(one.arch, one.quantity) for one in outside} == {("rnn", "train")}
    assert all(one.ratio == pytest.approx(2.0) and one.band[0] > 1 for one in outside)
    streamed = [one for one in found.costs if (one.arch, one.quantity) == ("gru", "stream")]
    assert streamed and all(one.ratio == pytest.approx(1.05) and not one.outside for one in streamed)
    assert not found.beyond_noise  # a clock decides on no exit code
    group = next(one for one in cost_ratios.gathered(found.costs) if (one.arch, one.quantity) == ("rnn", "train"))
    assert group.outside == group.points and group.middle == pytest.approx(2.0)
    assert "rnn  train" in said(found) and "x 2" in said(found)

    first, second, *others = base.counted
    larger = base.model_copy(update={"counted": (first, scaled(second, "state", 2.0), *others)})
    exact = difference(base, larger, tmp_path / "bytes")
    assert {(one.arch, one.quantity) for one in exact.costs if one.outside} == {("lstm", "state")}
    assert exact.beyond_noise and "of bytes that differ: lstm" in exact.beyond_noise[0]


def test_visits_that_drifted_apart_widen_the_band() -> None:
    def point(drift: float) -> cost_ratios._Point:
        return cost_ratios._Point(planted.quantiles(10.0), drift, ())

    assert cost_ratios._band(point(0.0)) == pytest.approx((9.0, 11.0))
    assert cost_ratios._band(point(0.3)) == pytest.approx((7.0, 13.0))


def test_a_cell_with_another_metric_is_not_compared(base: Summary, tmp_path: Path) -> None:
    path = as_table(base, tmp_path / "a.csv")
    other = tmp_path / "b.csv"
    other.write_text(path.read_text().replace(",accuracy,max,", ",f1,max,"))
    found = compare(result_sets.read(path), result_sets.read(other))
    assert by_verdict(found, "not comparable") == [(IDS[1], arch) for arch in sorted(ARCHS)]
    assert "3 cells ranked by another metric" in found.beyond_noise[0]
    assert "NOT THE SAME in scored by" in said(found)


def test_a_table_gives_the_ranks_and_winners_of_the_page(base: Summary, tmp_path: Path) -> None:
    whole, table = as_set(base, tmp_path), result_sets.read(as_table(base, tmp_path / "results.csv"))
    assert table.winners == whole.winners and set(whole.winners.values()) >= {"rnn", "gru"}
    for task in IDS:
        assert table.order(task) == whole.order(task)


# ---------------------------------------------------------------- output


def test_files_hold_everything_compared(base: Summary, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a" / "summary.json", tmp_path / "b" / "summary.json"
    base.write(a)
    again(base, noisy(1, {(IDS[0], "gru"): 0.3})).write(b)
    words = ["diff", str(a), str(b), "--json", str(tmp_path / "new/d.json"), "--csv", str(tmp_path / "new/d.csv")]
    assert cli.main(words) == DIFFERENT == 6
    assert "DRIFT, worse" in capsys.readouterr().out
    data = json.loads((tmp_path / "new/d.json").read_text())
    assert data.pop("beyond_noise") == ["1 cell drifted: adding-20 gru (worse)"]
    found = Difference.from_data(data)
    assert found == compare(result_sets.read(a), result_sets.read(b)) and len(found.drifts) == 6
    rows = list(csv.DictReader(io.StringIO((tmp_path / "new/d.csv").read_text())))
    scores = {(row["task"], row["arch"]): row for row in rows if row["section"] == "score"}
    for one in found.drifts:
        row = scores[one.task, one.arch]
        assert (float(row["a"]), float(row["b"]), float(row["difference"])) == (one.mean_a, one.mean_b, one.difference)
        assert one.interval == (float(row["low"]), float(row["high"])) and float(row["p_holm"]) == one.p_holm
    assert scores[IDS[0], "gru"]["said"] == "drift, worse"
    kinds = {row["section"] for row in rows}
    assert kinds == {"circumstance", "score", "rank", "cost"}
    assert sum(row["section"] == "cost" for row in rows) == len(found.costs) > 100
    assert not [path for path in (tmp_path / "new").iterdir() if path.suffix == ".tmp"]


ESCAPES = "\x1b[2J\x1b]0;title\x07\x9b31m\u202e\r\nx"


def test_names_are_not_written_raw_to_a_terminal(
    base: Summary, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escape sequences, bells, line ends and marks that turn the direction of writing are spelled out."""

    def hostile(of: Summary) -> str:
        text = json.dumps(of.plain())
        for word in (*IDS, "gru", "Planted CPU", of.claims[0].title, of.ledger[0].name, "0123456789abcdef"):
            evil = json.dumps(word[:6] + ESCAPES)[1:-1]
            text = text.replace(json.dumps(word)[1:-1], evil)
        return text

    for name, of in (("a", base), ("b", again(base, noisy(3, {(IDS[0], "gru"): 0.3})))):
        (tmp_path / f"{name}.json").write_text(hostile(of))
        as_table(of, tmp_path / f"{name}.csv")
        table = (tmp_path / f"{name}.csv").read_text()
        evil = '"' + ESCAPES.replace("\r\n", "") + '"'
        (tmp_path / f"{name}.csv").write_text(table.replace("gru", evil).replace(IDS[0], evil))
    for pair in (("a.json", "b.json"), ("a.csv", "b.csv"), ("a.json", "b.csv")):
        words = ["diff", *(str(tmp_path / name) for name in pair), "--all", "--csv", str(tmp_path / "d.csv")]
        assert cli.main(words) == DIFFERENT
        said = capsys.readouterr()
        for text in (said.out, (tmp_path / "d.csv").read_text()):
            assert all(c.isprintable() or c == "\n" for c in text)
            assert "\\x1b[2J" in text and "\\u202e" in text


def test_errors_do_not_write_names_raw_either(
    base: Summary, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(base.plain() | {"\x1b[2Jkey": 1}))
    assert cli.main(["diff", str(path), str(path)]) == DataError.exit_code
    text = capsys.readouterr().err
    assert "\\x1b[2Jkey" in text and "\x1b" not in text and "results.csv, which all versions read" in text


# ---------------------------------------------------------------- bad input


def three_lines(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["diff", *words]) == code
    out, err = capsys.readouterr()
    assert not out and [line.split(":")[0] for line in err.splitlines()] == ["error", "where", "fix"]
    return err


def test_what_is_missing_or_of_another_kind_is_three_lines(
    base: Summary, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base.write(tmp_path / "summary.json")
    good = str(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "metrics.json").write_text("{}")
    missing, bad = InputError.exit_code, DataError.exit_code
    assert "no such file" in three_lines([good, str(tmp_path / "none")], missing, capsys)
    assert "no such file" in three_lines([str(tmp_path / "none"), good], missing, capsys)
    assert "neither summary.json nor results.csv" in three_lines([good, str(tmp_path / "empty")], bad, capsys)
    assert "neither a folder nor" in three_lines([good, str(tmp_path / "notes.txt")], missing, capsys)
    assert "not a Summary" in three_lines([good, str(tmp_path / "metrics.json")], bad, capsys)
    with pytest.raises(SystemExit) as caught:
        cli.main(["diff", good])
    assert caught.value.code == missing
    with pytest.raises(SystemExit):
        cli.main(["diff", good, good, "--preset", "quick"])  # no option that does nothing


def test_a_truncated_summary_is_three_lines(base: Summary, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tmp_path / "summary.json"
    base.write(whole)
    cut = tmp_path / "cut.json"
    cut.write_bytes(whole.read_bytes()[:-100])
    assert "not valid JSON" in three_lines([str(whole), str(cut)], DataError.exit_code, capsys)
    twice = base.model_copy(update={"cells": (*base.cells, base.cells[0])})
    twice.write(cut)
    assert "is there twice" in three_lines([str(whole), str(cut)], DataError.exit_code, capsys)


def test_a_damaged_table_is_three_lines(base: Summary, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cut within a row at any place, without a column, with a run twice, with what is no number, or not text at all."""
    whole = as_table(base, tmp_path / "results.csv")
    text = whole.read_text()
    lines = text.splitlines(keepends=True)
    score = lines[1].split(",")[lines[0].split(",").index("score")]
    damaged = {
        "cut short": [text[:-n] for n in (2, 30, 70, 150)],
        "no column 'weights_sha256'": [text.replace("weights_sha256", "weights", 1)],
        "there twice": [text + lines[-1]],
        "not a number": [text.replace(f",{score},", ",many,")],
        "not finite": [text.replace(f",{score},", ",nan,")],
        "without runs": [lines[0]],
        "no column 'task'": ["", "PNG\n"],
        "different metrics": ["".join([*lines[:-1], lines[-1].replace(",accuracy,max,", ",f1,max,")])],
    }
    for says, contents in damaged.items():
        for content in contents:
            broken = tmp_path / "broken.csv"
            broken.write_text(content)
            assert says in three_lines([str(whole), str(broken)], DataError.exit_code, capsys)
    broken.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in three_lines([str(whole), str(broken)], DataError.exit_code, capsys)


def test_a_file_that_cannot_be_written_is_three_lines(
    base: Summary, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(as_table(base, tmp_path / "results.csv"))
    assert "folder" in three_lines([path, path, "--json", f"{path}/d.json"], 5, capsys)
