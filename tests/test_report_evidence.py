"""Sections of evidence: across tasks, what tasks can tell, tuning, claims, published numbers, ablations."""

from __future__ import annotations

import html
import itertools
import re
import types
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

import concluded
import pytest
from concluded import ARCHS
from planted import HOSTILE
from test_report import Elements, section, table, words

from seqbench.analyse import ablations, statistics
from seqbench.analyse import conclusions as of
from seqbench.analyse.findings import number
from seqbench.analyse.summary import Cell, Summary
from seqbench.report import FOLDER, across, certificates, charts, claims, evidence_charts, svg, tuning
from seqbench.report.figures import DRAWN

BAD = "".join(HOSTILE)
SECTIONS = ["across", "certificates", "tuning", "claims", "published", "ablations"]
LOOKS = charts.styles(ARCHS)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return concluded.grid(tmp_path_factory.mktemp("grid"))


@pytest.fixture(scope="module")
def evidence(grid: Summary) -> types.SimpleNamespace:
    return concluded.conclusions(grid)


@pytest.fixture(scope="module")
def page(evidence: types.SimpleNamespace) -> str:
    return concluded.page(evidence)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    return concluded.page(concluded.conclusions(concluded.grid(tmp_path_factory.mktemp("hostile"), BAD), BAD))


def all_figures(evidence: types.SimpleNamespace) -> list[Any]:
    return [
        *across.profiles(evidence.profiles, LOOKS),
        *across.diagram(evidence.ranking, LOOKS),
        *certificates.figures(evidence.certificates, evidence.tasks, LOOKS),
        *tuning.figures(evidence.searches, evidence.tasks, LOOKS),
        *tuning.rank_figures(evidence.matched, LOOKS),
    ]


# ---------------------------------------------------------------- the page


def test_sections_come_in_their_order(page: str) -> None:
    assert re.findall(r'<h2 id="(\w+)"', page) == SECTIONS


def test_same_records_same_bytes(evidence: types.SimpleNamespace, page: str) -> None:
    again = {
        name: tuple(type(one).from_data(one.plain()) for one in many) if isinstance(many, tuple) else many
        for name, many in vars(evidence).items()
    }
    assert concluded.page(types.SimpleNamespace(**again)) == page


@pytest.mark.parametrize("name", ["page", "hostile"])
def test_nothing_is_loaded_and_nothing_runs(name: str, request: pytest.FixtureRequest) -> None:
    elements = Elements(request.getfixturevalue(name)).found
    tags = [tag for tag, _ in elements]
    assert tags.count("script") == 1 and not {"img", "link", "iframe", "object", "embed", "form"} & set(tags)
    for tag, attributes in elements:
        assert not {"src", "style", "background"} & set(attributes), tag
        assert not any(one.startswith("on") for one in attributes)
        if tag in ("a", "use"):
            assert (attributes["href"] or "").startswith("#"), attributes


def test_hostile_text_stays_text(hostile: str) -> None:
    assert hostile.count("&lt;script&gt;alert(") > 15
    for name in SECTIONS[:5]:
        assert "alert(1)" in section(hostile, name).replace("&#34;", "").replace('"', ""), name


@pytest.mark.parametrize("name", ["page", "hostile"])
def test_every_link_has_a_target_and_every_id_is_unique(name: str, request: pytest.FixtureRequest) -> None:
    elements = Elements(request.getfixturevalue(name)).found
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    links = {a["href"] for tag, a in elements if tag in ("a", "use")}
    assert len(ids) == len(set(ids)) and links <= {f"#{name}" for name in ids}
    wanted = {"#cell-adding-20--lstm", "#task-adding-50", "#reach", "#certificates"}
    assert wanted <= links


def test_semantics(page: str) -> None:
    elements = Elements(page).found
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(re.findall("<table[ >]", page)) == page.count("<caption>") == page.count('class="scroll"') > 10
    assert all("scope" in attributes for tag, attributes in elements if tag == "th")
    images = [a for tag, a in elements if tag == "svg" and a.get("class") == "chart"]
    assert len(images) == 1 + 1 + 3 + 4 + 1
    assert all(a.get("role") == "img" and a.get("aria-label") for a in images)


def test_charts_have_no_colour_of_their_own(evidence: types.SimpleNamespace) -> None:
    for figure in all_figures(evidence):
        colours = {e.get(name) for e in ET.fromstring(figure.svg).iter() for name in ("fill", "stroke")} - {None}
        assert colours <= {"none", "transparent", "currentColor", *(f"var(--arch-{n})" for n in range(4))}, colours


def test_pages_of_no_evidence_say_so(grid: Summary) -> None:
    nothing = dict.fromkeys(
        ("aggregates", "profiles", "certificates", "searches", "matched", "claims", "ledger", "variants", "ablated"), ()
    )
    ranking = of.Ranking(tasks=1, needed=8, testable=False, text="Not testable with 1 task: 6 would do.")
    silent = of.Sensitivity(usual=None, choices=(), changed=None, text="Nothing to choose from.")
    empty = types.SimpleNamespace(tasks=grid.tasks, cells=grid.cells, ranking=ranking, sensitivity=silent, **nothing)
    page = concluded.page(empty)
    said = words(page)
    for text in (
        "No task counts: nothing can be pooled.",
        "Not testable with 1 task: 6 would do.",
        "No winner can be named, so that none can change.",
        "0 of 0 tasks count.",
        "On no task of this plan was the context cut short.",
        "No search was recorded.",
        "Nothing was ranked under another rule.",
        "No claim was looked at.",
        "No published number was looked at.",
        "No ablation was run.",
    ):
        assert text in said, text
    assert 'class="chart"' not in page and re.findall(r'<h2 id="(\w+)"', page) == SECTIONS


# ---------------------------------------------------------------- across tasks


def test_aggregates_come_with_intervals_the_highest_mean_first(evidence: types.SimpleNamespace) -> None:
    backwards = tuple(reversed(evidence.aggregates))
    rows = across.table(backwards).rows
    assert [row[0].text for row in rows] == list(ARCHS)  # type: ignore[union-attr]
    first = rows[0]
    assert first[1] == across.Entry("0.8", "[0.75, 0.85]", best=True) and first[2].sub == "no interval"  # type: ignore[union-attr]
    assert list(first[3:]) == ["1.2", "90 %"]
    assert [row[1].best for row in rows] == [True, False, False, False]  # type: ignore[union-attr]


def test_a_profile_has_a_line_for_each_and_lists_both_ends(evidence: types.SimpleNamespace) -> None:
    (figure,) = across.profiles(evidence.profiles, LOOKS)
    drawn = {e.get("stroke") for e in ET.fromstring(figure.svg).iter()}
    assert {LOOKS[arch].colour for arch in ARCHS} <= drawn
    thresholds = [row[0] for row in figure.rows]
    assert thresholds[0] == "0" and thresholds[-1] == "1" and f"lists {len(thresholds)} of 21" in figure.caption
    half = concluded.profile("rnn", 0).shares[3 * 2]
    row = next(row for row in figure.rows if row[0] == number(concluded.THRESHOLDS[6]))
    assert row[1] == f"{number(half)} [{number(half - 0.05)}, {number(min(1, half + 0.05))}]"


def test_mean_ranks_are_given_best_first_with_what_was_found(page: str) -> None:
    said = words(section(page, "across"))
    assert "Ranks differ over 10 tasks." in said
    assert "lstm 1.4 gru 1.9 transformer 2.95 rnn 3.75" in said and "p = 0.0004" in said
    caption = "Pairs over 10 tasks: Wilcoxon's signed-rank test, the task is the unit"
    assert table(page, caption)[1] == ["rnn, lstm", "-0.1", "0.002", "0.012", "lstm better"]


@pytest.mark.parametrize("changes", [{"testable": False}, {"cliques": ()}])
def test_no_diagram_where_tasks_are_too_few_or_no_groups_were_found(changes: dict[str, Any]) -> None:
    assert across.diagram(concluded.ranking(), LOOKS)
    assert across.diagram(concluded.ranking(**changes), LOOKS) == []


def test_bars_of_the_diagram_reach_from_the_best_to_the_worst_of_their_group() -> None:
    of_test = concluded.ranking()
    drawn = evidence_charts.critical_difference(of_test.mean_ranks, of_test.cliques, LOOKS)
    root = ET.fromstring(drawn)
    marks = {e.find(svg.tag("title")).text: e for e in root.iter() if e.find(svg.tag("title")) is not None}  # type: ignore[union-attr]
    at = {
        arch: float(re.match(r"M([\d.]+),", marks[f"{arch}: mean rank {number(rank)}"].attrib["d"])[1])  # type: ignore[index]
        for arch, rank in of_test.mean_ranks.items()
    }
    ends = list(at.values())
    assert sorted(at, key=at.__getitem__) == ["lstm", "gru", "transformer", "rnn"]
    assert (at["rnn"] - at["lstm"]) / (3.75 - 1.4) == pytest.approx((at["gru"] - at["lstm"]) / 0.5, rel=0.01)
    bar = marks["no difference found within lstm and gru"].attrib["d"]
    left, right = map(float, re.findall(r"M([\d.]+),[\d.]+H([\d.]+)", bar)[0])
    assert left < at["lstm"] < at["gru"] < right < at["transformer"] and right < max(ends)
    label = "Mean ranks over tasks, best first: lstm 1.4, gru 1.9, transformer 2.95, rnn 3.75. "
    assert root.get("aria-label") == f"{label}No difference found within: lstm and gru; gru and transformer"


def test_groups_of_one_have_no_bar_and_long_names_are_cut_but_kept_in_full() -> None:
    long = '"><img src=x onerror=alert(1)>'
    looks = charts.styles([long, "lstm"])
    root = ET.fromstring(evidence_charts.critical_difference({long: 1.0, "lstm": 2.0}, [(long,), ("lstm",)], looks))
    assert "no group" in root.attrib["aria-label"] and long in root.attrib["aria-label"]
    assert not [e for e in root.iter() if e.get("stroke-width") == "4" or "img" in e.tag]
    shown = [e.text or "" for e in root.iter(svg.tag("text"))]
    assert not any(long in text for text in shown) and any("…" in text for text in shown)


def test_sensitivity_counts_the_choices_that_name_another_winner(evidence: types.SimpleNamespace) -> None:
    said = across.share(evidence.sensitivity)
    assert "names lstm" in said and "1 of the 4 choices that name one (25 %); 1 names none." in said
    rows = across.choices(evidence.sensitivity).rows
    assert [row[1] for row in rows] == ["lstm", "gru", "lstm", "none", "lstm"]
    assert [row[2].warn for row in rows] == ["", "another winner", "", "", ""]  # type: ignore[union-attr]


def test_a_ceiling_that_is_only_the_best_seen_is_named(evidence: types.SimpleNamespace, page: str) -> None:
    assert across.ceilings(evidence.certificates) == "" and "by construction" not in section(page, "across")
    linear = concluded.certificate("etth1", 0, ceiling=0.381, ceiling_of="best seen: the strong control linear")
    best = concluded.certificate("jsb", 0, ceiling=8.58, ceiling_of="best seen: the mean of transformer")
    grey = concluded.certificate("other", 1, ceiling=2.0, ceiling_of="best seen: the mean of rnn")
    assert across.ceilings([linear, grey]) == (
        "The ceiling is the best possible or known score of the task; where it has none, the best seen here: "
        "on etth1 the strong control linear (0.381)."
    )
    said = across.ceilings([linear, best, grey])
    assert "(0.381) and on jsb the mean of transformer (8.58). An architecture whose own mean is the ceiling" in said


# ---------------------------------------------------------------- what tasks can tell


def test_a_task_that_is_left_out_is_grey_with_its_reason(page: str) -> None:
    part = section(page, "certificates")
    assert part.count("<tr class=grey>") == 1
    grey = words(part.split("<tr class=grey>")[1].split("<tr>")[0])
    assert grey.startswith("adding-50") and "left out: every score lies at the ceiling" in grey
    assert "no clear difference" in grey and "3 of 4 tasks count." in words(part)
    caption = "What each task can tell; any difference: Kruskal-Wallis over all architectures, not corrected"
    head, first, *_ = table(page, f"{caption}, single pairs may still be level")
    assert head == list(certificates.HEAD)
    assert first == [
        *("adding-20", "0.9 to 0the best possible", "0.2", "0.03", "yes", "no"),
        *("64 stepsof up to 64 looked at", "yes"),
    ]


def test_what_was_not_measured_is_not_claimed(evidence: types.SimpleNamespace) -> None:
    last = certificates.lines(evidence.certificates)[-1]
    assert last.task == "recall-4" and last.entries[5] == certificates.Entry("not measured")
    unsettled = concluded.certificate("adding-20", 0, needs=None)
    assert certificates.lines([unsettled])[0].entries[5].text == "not known"


def test_scores_by_allowed_context_are_drawn_and_listed(evidence: types.SimpleNamespace) -> None:
    drawn = certificates.figures(evidence.certificates, evidence.tasks, LOOKS)
    assert [figure.title for figure in drawn] == ["adding-20", "adding-50", "psmnist"]
    tips = [e.text for e in ET.fromstring(drawn[0].svg).iter(svg.tag("title"))]
    assert len(tips) == 4 * len(ARCHS) and "gru, 16 steps: 0.6" in tips
    rows = certificates.allowed_table(evidence.certificates, ARCHS).rows
    assert len(rows) == 3 * 4 and rows[2][1:] == ["0.5", "0.55", "0.6", "0.65"]


def test_charts_by_allowed_context_say_what_is_scored(evidence: types.SimpleNamespace, page: str) -> None:
    for task, figure in zip(
        evidence.tasks, certificates.figures(evidence.certificates, evidence.tasks, LOOKS), strict=False
    ):
        sign = {"max": "↑", "min": "↓"}[task.spec.direction]
        shown = {e.text for e in ET.fromstring(figure.svg).iter(svg.tag("text"))}
        assert f"{task.spec.metric} {sign} of the last answer" in shown
        assert figure.caption.startswith("Last answer of each sequence alone")
    assert "not comparable with the scores of other sections" in words(section(page, "certificates"))


def test_tasks_without_a_chart_are_counted(evidence: types.SimpleNamespace) -> None:
    count = DRAWN + 2
    many = [concluded.certificate(f"t{n}", 0) for n in range(count)]
    tasks = [evidence.tasks[0].model_copy(update={"id": f"t{n}"}) for n in range(count)]
    drawn = certificates.figures(many, tasks, LOOKS)
    assert len(drawn) == DRAWN and drawn.left == 2
    assert len(certificates.allowed_table(many, ARCHS).rows) == 4 * count
    more = types.SimpleNamespace(**vars(evidence) | {"certificates": tuple(many), "tasks": (*evidence.tasks, *tasks)})
    assert "2 more tasks: in the table below." in words(section(concluded.page(more), "certificates"))


def test_scores_over_decades_have_a_log_axis(evidence: types.SimpleNamespace) -> None:
    wide = dict.fromkeys(ARCHS, (1.0, 0.1, 0.01, 0.001))
    (figure,) = certificates.figures([concluded.certificate("adding-20", 0, allowed=wide)], evidence.tasks, LOOKS)
    shown = {e.text for e in ET.fromstring(figure.svg).iter(svg.tag("text"))}
    assert "Log scales." in figure.caption and {"0.01", "0.1"} <= shown


# ---------------------------------------------------------------- tuning


def test_the_search_and_its_cost_are_told(evidence: types.SimpleNamespace) -> None:
    searches = evidence.searches
    assert tuning.spaces(searches) == ["Learning rates tried: 0.0003, 0.001 and 0.003, the same for every cell."]
    other = concluded.search("psmnist", "rnn", 0, rates=(0.1,), scores=(0.5,))
    assert [text.split(" tried: ")[1] for text in tuning.spaces([searches[0], other])] == [
        "0.0003, 0.001 and 0.003, on adding-20.",
        "0.1, on psmnist.",
    ]
    assert tuning.cost(searches).startswith("All trials of 16 cells took 9,600 optimiser steps: 4 hours in the 12")
    unknown = [concluded.search("psmnist", "rnn", 0, seconds=None)]
    assert tuning.cost(unknown) == "All trials of 1 cell took 600 optimiser steps; in seconds this is not known."
    quick = [concluded.search("psmnist", "rnn", 0, seconds=seconds) for seconds in (50.0, 100.0)]
    assert "2.5 minutes, at their pace" in tuning.cost(quick)


def test_borders_and_failed_trials_are_visible(evidence: types.SimpleNamespace, page: str) -> None:
    said = words(section(page, "tuning"))
    assert "On the border of the search, so that a better rate may lie outside: lstm on adding-20, lstm on" in said
    rows = tuning.table(evidence.searches, evidence.tasks).rows
    assert rows[0][1] == tuning.Entry("0.0003: 0.6, 0.001: 0.5, 0.003: failed", "mse ↓")
    assert list(rows[0][2:]) == ["3", "600", "1,200", "0.55 to 0.5", "inside"]
    alike = [evidence.searches[0].model_copy(update={"scores": (0.15502, 0.15498, 0.155), "border": False})]
    (row,) = tuning.table(alike, evidence.tasks).rows
    assert row[6] == tuning.Entry(warn="all rates alike: none is told apart")
    assert rows[1][6].warn == "on the border of the search" and rows[2][4] == "–"  # type: ignore[union-attr]
    inside = tuple(one for one in evidence.searches if not one.border)
    calm = concluded.page(types.SimpleNamespace(**vars(evidence) | {"searches": inside}))
    assert "No best rate lies on the border of its search." in words(section(calm, "tuning"))


def test_expected_best_is_drawn_where_there_are_two_trials(evidence: types.SimpleNamespace) -> None:
    drawn = tuning.figures(evidence.searches, evidence.tasks, LOOKS)
    assert [figure.title for figure in drawn] == [task.id for task in evidence.tasks]
    root = ET.fromstring(drawn[0].svg)
    tips = [e.text for e in root.iter(svg.tag("title"))]
    assert "lstm, 1 trial: 0.45" in tips and "lstm, 3 trials: 0.4" in tips and len(tips) == 3 * len(ARCHS)
    assert "best validation mse ↓" in {e.text for e in root.iter(svg.tag("text"))}
    single = [one.model_copy(update={"expected": one.expected[:1]}) for one in evidence.searches]
    failed = [one.model_copy(update={"expected": (None, None)}) for one in evidence.searches]
    assert tuning.figures(single, evidence.tasks, LOOKS) == tuning.figures(failed, evidence.tasks, LOOKS) == []
    assert tuning.table(failed, evidence.tasks).rows[0][5] == "no trial finished"


def test_changes_of_rank_are_told_and_drawn(evidence: types.SimpleNamespace) -> None:
    assert tuning.moved(evidence.matched) == [
        "At equal training time, ranks change on 1 of 4 tasks: psmnist (lstm and gru).",
        "At equal arithmetic, ranks change on 0 of 4 tasks.",
        "At equal state there are no ranks: needs widths.",
    ]
    (figure,) = tuning.rank_figures(evidence.matched, LOOKS)
    assert (
        figure.title == "psmnist" and "Thick, where it changes: lstm and gru at equal training time." in figure.caption
    )
    root = ET.fromstring(figure.svg)
    thick = [e.get("stroke") for e in root.iter() if e.get("stroke-width") == "4"]
    assert thick == [LOOKS["lstm"].colour, LOOKS["gru"].colour]
    label = root.attrib["aria-label"]
    assert "at equal parameters lstm 1, gru 2, transformer 3, rnn 4; at equal training time gru 1, lstm 2" in label
    tips = [e.text for e in root.iter(svg.tag("title"))]
    assert len(tips) == 3 * len(ARCHS) and "gru, equal training time: rank 1" in tips
    still = [one.model_copy(update={"changed": ()}) for one in evidence.matched]
    assert tuning.rank_figures(still, LOOKS) == []


def test_a_line_of_ranks_is_broken_where_there_is_none() -> None:
    ranks: dict[str, list[int | None]] = {"rnn": [1, None, 1], "lstm": [2, 1, None]}
    drawn = evidence_charts.rank_lines(["a", "b", "c"], ranks, {a: [False] * 3 for a in ranks}, LOOKS, BAD)
    root = ET.fromstring(drawn)
    lines = [e.get("stroke") for e in root.iter() if e.get("stroke")]
    assert lines == [LOOKS["lstm"].colour] and root.get("aria-label") == BAD
    assert [e.text for e in root.iter(svg.tag("title"))] == [
        *("rnn, a: rank 1", "rnn, c: rank 1", "lstm, a: rank 2", "lstm, b: rank 1")
    ]


def test_every_rule_that_gives_scores_has_a_row(evidence: types.SimpleNamespace) -> None:
    rows = tuning.matched_table(evidence.matched, ARCHS).rows
    assert len(rows) == 4 * 3 and set(tuning.RULES) == set(get_args(of.Rule))
    swapped = rows[2 * 3 + 1]
    assert swapped[0] == tuning.Entry("psmnist, equal training time", "41 seconds")
    assert swapped[1] == tuning.Entry("4", "0.4") and swapped[2] == tuning.Entry("2", "0.1", "changed")
    unranked = evidence.matched[0].model_copy(update={"ranks": {}, "note": "no time is known"})
    assert tuning.matched_table([unranked], ("gru", "other")).rows == [
        [
            tuning.Entry("adding-20, equal parameters", "about 6,000 parameters; no time is known"),
            tuning.Entry("–", "0.2"),
            tuning.Entry("–"),
        ]
    ]


def test_a_rule_without_ranks_names_the_tasks_where_not_all_lack_them(evidence: types.SimpleNamespace) -> None:
    one = evidence.matched[1].model_copy(update={"ranks": {}, "note": "no time is known."})
    said = tuning.moved([one, *evidence.matched[4:8]])
    assert said[:2] == [
        "At equal training time, ranks change on 0 of 1 task.",
        "At equal training time there are no ranks on adding-20: no time is known.",
    ]


# ---------------------------------------------------------------- claims, published numbers


def test_parts_of_a_claim_stand_together_by_number(evidence: types.SimpleNamespace, page: str) -> None:
    assert [(n, len(parts)) for n, _, parts in claims.grouped(evidence.claims)] == [(1, 1), (2, 2)]
    part = section(page, "claims")
    assert re.findall(r'<h3 id="(claim-\d)">', part) == ["claim-1", "claim-2"]
    said = words(part)
    assert "3 statements: 1 supported, 1 refuted and 1 undecided." in said
    assert "supported LSTM It does, by more than was asked. Effect: 0.31 [0.25, 0.4] of the way to the ceiling." in said
    assert "undecided GRU Not testable with 3 seeds: 5 would do." in said
    assert "Measure, margin and 2 grounds Measure rescaled score Least that counts 0.05" in said


def test_grounds_lead_to_their_numbers(page: str) -> None:
    part = section(page, "claims")
    assert len(re.findall('class=long><a href="?#', part)) == 3
    assert '<a href="#cell-adding-20--lstm">lstm against rnn on adding-20</a>' in part
    assert "lstm against rnn on adding-20 0.31 [0.25, 0.4] 0.0006 supports" in words(part)
    assert words(part).endswith("rnn without clipping was not run – – missing")  # there is nothing to lead to


def test_every_verdict_has_a_word_a_sign_and_a_frame() -> None:
    every = {
        *get_args(of.Claim.model_fields["verdict"].annotation),
        *get_args(of.Ground.model_fields["supports"].annotation),
        *get_args(of.Reproduction.model_fields["verdict"].annotation),
    }
    assert set(claims.MARKS) == every
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    signs = [re.search(rf'\.verdict\.{mark}::before {{ content: "(.)"', style) for mark in set(claims.MARKS.values())]
    assert len({sign[1] for sign in signs if sign}) == len(signs) == 4


def test_published_numbers_stand_beside_what_was_found(page: str) -> None:
    rows = table(page, "Published numbers and what was found at their settings")
    assert [row[4:6] for row in rows[1:]] == [
        *(["87.6 [86.9, 88.1]", "5"], ["98.1 [97.9, 98.4]", "5"], ["87", "1"], ["–", "–"]),
    ]
    assert rows[1][2:4] == ["87.2", "± 1.5"]
    assert rows[1][0].startswith("sequential MNIST, LSTMBai et al. 2018, table 1Setting")
    assert [row[1] for row in rows[1:]] == [
        "reproducedwithin the margin",
        "not reproducedhigher than the margin allows",
        "undecidedone seed gives no interval",
        "not run hereabout 9 hours on one GPU",
    ]
    said = words(section(page, "published"))
    assert "4 numbers: 1 reproduced, 1 not reproduced, 1 undecided and 1 not run here." in said


# ---------------------------------------------------------------- ablations


def shown(variants: Sequence[Cell], cells: Sequence[Cell]) -> list[claims.Ablation]:
    """The ablations of the page."""
    ablated = ablations.compare(variants, cells)
    return claims.ablations(cast(Summary, types.SimpleNamespace(variants=variants, cells=cells, ablated=ablated)))


def test_a_change_stands_beside_its_base(evidence: types.SimpleNamespace) -> None:
    first, second = shown(evidence.variants, evidence.cells)
    assert (first.name, second.name) == ("no_clipping", "wet")  # a published row is no ablation
    lstm, gru = first.rows
    assert (lstm.of.task, lstm.of.arch, lstm.of.change, lstm.metric) == ("adding-20", "lstm", "clip 1.0 → 0.0", "mse ↓")
    assert lstm.of.reading == "worse with the change" and lstm.difference.text.startswith("0.3 [")
    assert lstm.difference.sub == "P(better) 0" and lstm.anchor == "cell-adding-20--lstm"
    assert lstm.of.p_holm == pytest.approx(3 * statistics.smallest_p(7, 7))
    assert gru.of.reading == "no clear difference"
    (wet,) = second.rows
    assert wet.of.change == "dropout 0.0 → 0.3" and wet.anchor == ""  # against the base of its own
    assert wet.before.warn == wet.after.warn == "1 of 7 diverged" and wet.before.sub == "6/7 seeds"


def test_commands_of_changed_cells_and_of_bases_outside_the_grid_are_given(
    evidence: types.SimpleNamespace, page: str
) -> None:
    first, second = shown(evidence.variants, evidence.cells)
    assert [line.split(" --seed")[0] for line in first.commands] == [
        *("seqbench train adding-20 lstm+no_clipping", "seqbench train adding-20 gru+no_clipping")
    ]
    assert [line.split(" --seed")[0] for line in second.commands] == [
        *("seqbench train adding-20 rnn+wet", "seqbench train adding-20 rnn+wet_base")
    ]
    said = html.unescape(section(page, "ablations"))
    assert all(line in said for one in (first, second) for line in one.commands)


def test_higher_may_be_better(grid: Summary) -> None:
    cell = grid.cell("recall-4", "lstm")
    (ablation,) = shown((concluded.varied(cell, "more", 0.3),), grid.cells)
    assert ablation.rows[0].of.reading == "better with the change" and ablation.rows[0].metric == "accuracy ↑"
    assert ablation.rows[0].difference.sub == "P(better) 1"
    assert ablation.rows[0].of.change == "nothing but the name"


def test_a_change_without_a_base_or_without_a_finished_seed_says_so(grid: Summary) -> None:
    cell = grid.cell("adding-20", "lstm")
    alone = concluded.varied(cell, "alone", 0.3)
    failed = cell.model_copy(
        update={"mean": None, "counted": (), "scores": (None,) * 7, "interval": None, "failures": {"diverged": 7}}
    )
    (one,) = shown((alone,), ())
    assert (one.rows[0].before.warn, one.rows[0].of.reading) == ("not run", "nothing to compare")
    (two,) = shown((concluded.varied(failed, "loose", 0.0),), grid.cells)
    assert two.rows[0].after.text == "no seed finished" and two.rows[0].after.warn == "7 of 7 diverged"
    assert two.rows[0].difference.text == "–" and two.rows[0].of.reading == "worse with the change"


def test_few_seeds_are_not_testable(tmp_path: Path) -> None:
    few = concluded.grid(tmp_path, seeds=(1, 2, 4))
    (one,) = shown((concluded.varied(few.cell("adding-20", "lstm"), "loose", 0.5),), few.cells)
    assert one.rows[0].of.reading == "not testable with 3 seeds" and one.rows[0].of.p_holm == pytest.approx(0.1)


def test_what_a_variant_changes_of_the_task_is_named(grid: Summary) -> None:
    cell = grid.cell("adding-20", "gru")
    (one,) = shown((concluded.varied(cell, "forwards", 0.1, spec={"causal": True}),), grid.cells)
    assert one.rows[0].of.change == "causal the task's → True"


def test_a_setting_that_never_acted_is_said_and_not_called_unclear(grid: Summary) -> None:
    cell = grid.cell("adding-20", "gru")
    idle = concluded.varied(cell, "idle", 0.0)
    hashes = {run.seed: run.weights_sha256 for run in cell.runs}
    runs = [run.model_copy(update={"weights_sha256": hashes[run.seed]}) for run in idle.runs]
    same = idle.model_copy(update={"evidence": idle.evidence.model_copy(update={"results": tuple(runs)})})
    (one,) = shown((same,), grid.cells)
    assert one.rows[0].of.reading == "the setting never took effect in these runs"
    other = [run.model_copy(update={"weights_sha256": "f" * 64}) for run in runs]
    acted = same.model_copy(update={"evidence": same.evidence.model_copy(update={"results": tuple(other)})})
    assert shown((acted,), grid.cells)[0].rows[0].of.reading == "no clear difference"
