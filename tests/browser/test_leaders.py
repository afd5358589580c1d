"""The leader table and the page's script in a real browser: sorted, filtered, in the address, by keyboard, true."""

from __future__ import annotations

import csv
import itertools
import json
import math
import statistics
import types
from pathlib import Path

import planted
import pytest
from planted import ARCHS, HOSTILE
from playwright.sync_api import Browser, Locator, Page, expect
from test_page import opened

from seqbench import analyse, report
from seqbench.analyse.findings import number
from seqbench.analyse.summary import Summary

pytestmark = pytest.mark.browser
TASKS = {"adding": [{"length": 20}, {"length": 100}], "psmnist": [{}], "shakespeare": [{}], "recall": [{"pairs": 4}]}
REFUSED = ("psmnist", "my_arch")
COLUMNS = (
    *("Task", "Architecture", "Verdict", "Rank", "Score", "Difference", "P(better)"),
    *("Seeds", "Control", "Parameters", "Family"),
)
WITHIN = ("Score", "Difference")
"""Columns in the unit of the task."""
NUMBERS = ("Rank", "Score", "Difference", "P(better)", "Seeds", "Parameters")


def score(task: str, arch: str, seed: int) -> float | None:
    """Architectures overlap on shakespeare; a run of rnn fails; no run of gru finishes on adding-100."""
    if (arch, seed) == ("rnn", 3) or (task, arch) == ("adding-100", "gru"):
        return None
    apart = 0.004 if task == "shakespeare" else 0.1
    return (1.7 if task == "shakespeare" else 0.123456789) + apart * ARCHS.index(arch) + 0.01 * seed


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """One cell is not ranked."""
    found = planted.summary(tmp_path_factory.mktemp("leaders"), planted.plan(TASKS), score)
    refusal = {"rank": 0, "refused": "fails the gate of causality"}
    cells = tuple(
        cell.model_copy(update=refusal) if (cell.task, cell.arch) == REFUSED else cell for cell in found.cells
    )
    return found.model_copy(update={"cells": cells})


def written(root: Path, of: Summary) -> str:
    path = root / "index.html"
    path.write_text(report.render(of), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, summary: Summary) -> str:
    return written(tmp_path_factory.mktemp("page"), summary)


ROWS = """rows => rows.map(row => [...row.cells].map(
  cell => [cell.firstChild.textContent, cell.dataset.v === undefined ? null : Number(cell.dataset.v)]))"""
Row = dict[str, tuple[str, float | None]]
"""By column: what is shown, and the value that is meant where it is given with all digits."""


def rows(page: Page) -> list[Row]:
    """The rows that are seen, from above."""
    cells = page.locator("table.leaders tbody tr:visible").evaluate_all(ROWS)
    names = page.locator("table.leaders thead th").all_inner_texts()  # a report that was made before may have others
    return [{name: (text, value) for name, (text, value) in zip(names, row, strict=True)} for row in cells]


def ids(page: Page) -> list[tuple[str, str]]:
    """Task and architecture of the rows that are seen."""
    return [(row["Task"][0], row["Architecture"][0]) for row in rows(page)]


def value(row: Row, column: str) -> float:
    """A number of the table; NaN: none."""
    text, exact = row[column]
    shown = text.replace(",", "").split("/")[0]
    return exact if exact is not None else math.nan if shown in ("–", "no score") else float(shown)


def head(page: Page, column: str) -> Locator:
    return page.locator("table.leaders thead th").nth(COLUMNS.index(column))


def filters(page: Page) -> types.SimpleNamespace:
    box = page.get_by_role("group", name="Rows to show")
    return types.SimpleNamespace(
        box=box,
        task=box.get_by_label("Task"),
        family=box.get_by_label("Family"),
        leaders=box.get_by_label("leaders only"),
        arch=lambda name: box.get_by_label(name, exact=True),
        reset=box.get_by_role("button", name="Reset"),
        said=box.get_by_role("status"),
    )


# ---------------------------------------------------------------- what it says


def test_every_row_says_what_results_csv_says(browser: Browser, address: str, summary: Summary, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    analyse.table(summary).to_csv(path, index=False, lineterminator="\n")
    found: dict[tuple[str, str], list[float | None]] = {}
    with path.open(encoding="utf-8") as file:
        for run in csv.DictReader(file):
            found.setdefault((run["task"], run["arch"]), []).append(float(run["score"]) if run["score"] else None)
    page, _ = opened(browser, address)
    shown = {(row["Task"][0], row["Architecture"][0]): row for row in rows(page)}
    assert shown.keys() == found.keys() and len(shown) == 5 * len(ARCHS)
    means: dict[tuple[str, str], float] = {}
    signs = {task.id: 1 if task.spec.direction == "max" else -1 for task in summary.tasks}
    for task in summary.tasks:
        trivial = [one.metrics[task.spec.metric] for one in task.controls if one.kind == "trivial"]
        seen = [one for arch in ARCHS for one in found[task.id, arch] if one is not None]
        worst = (min if signs[task.id] > 0 else max)(seen + trivial)  # what a failed seed counts as
        for arch in ARCHS:
            runs = found[task.id, arch]
            row = shown[task.id, arch]
            assert row["Seeds"][0] == f"{sum(one is not None for one in runs)}/{len(runs)}"
            if any(one is not None for one in runs):
                mean = statistics.fmean(worst if one is None else one for one in runs)
                assert value(row, "Score") == pytest.approx(mean, rel=1e-12) and row["Score"][0] == number(mean)
                means[task.id, arch] = mean
            else:
                assert row["Score"] == ("no score", None)
    for task in summary.tasks:
        ranked = [arch for arch in ARCHS if (task.id, arch) != REFUSED]
        order = sorted(
            ranked, key=lambda arch: -signs[task.id] * means.get((task.id, arch), -signs[task.id] * math.inf)
        )
        assert [arch for name, arch in shown if name == task.id][: len(order)] == order
        for place, arch in enumerate(order):
            row, other = shown[task.id, arch], order[place == 0]
            assert row["Rank"][0] == str(place + 1)
            both = [means.get((task.id, one)) for one in (arch, other)]
            assert row["Difference"][0] == ("–" if None in both else number(both[0] - both[1]))  # type: ignore[operator]
            runs, rivals = (
                [-math.inf if one is None else signs[task.id] * one for one in found[task.id, name]]
                for name in (arch, other)
            )
            wins = [(a > b) + (a == b) / 2 for a, b in itertools.product(runs, rivals)]
            assert row["P(better)"][0] == number(statistics.fmean(wins))
            pair = summary.pair(task.id, arch, other)
            assert row["Verdict"][0] == pair.verdict
            assert (row["Verdict"][0] == "no clear difference") == (pair.winner is None)
    assert shown["shakespeare", "rnn"]["Verdict"][0] == "no clear difference"
    assert [shown[REFUSED][name][0] for name in ("Rank", "Difference", "P(better)")] == ["–"] * 3
    assert shown[REFUSED]["Verdict"][0].startswith("not ranked: ")


def test_without_javascript_the_whole_table_is_there_and_nothing_dead(browser: Browser, address: str) -> None:
    page, seen = opened(browser, f"{address}#leaders?Task=psmnist", java_script_enabled=False)
    assert page.locator("table.leaders tbody tr:visible").count() == 5 * len(ARCHS)
    assert page.locator("button, select, input").count() == 0
    assert seen == []


# ---------------------------------------------------------------- sorting


@pytest.mark.parametrize("column", COLUMNS)
def test_each_column_sorts_both_ways(browser: Browser, address: str, column: str) -> None:
    page, seen = opened(browser, address)
    before = rows(page)
    assert list(before[0]) == list(COLUMNS)
    button = head(page, column).get_by_role("button", name=column)
    for way, sign in (("ascending", 1), ("descending", -1)):
        button.click()
        expect(head(page, column)).to_have_attribute("aria-sort", way)
        after = rows(page)
        if column in NUMBERS:
            tasks = list(dict.fromkeys(row["Task"][0] for row in after))
            for task in tasks if column in WITHIN else [None]:
                values = [value(row, column) for row in after if task in (None, row["Task"][0])]
                known = [one for one in values if not math.isnan(one)]
                assert known == sorted(known, key=lambda one: sign * one) == values[: len(known)]  # none comes last
            if column in WITHIN:  # tasks do not mix
                assert [task for task, _ in itertools.groupby(row["Task"][0] for row in after)] == tasks
        else:
            texts = [row[column][0] for row in after]
            runs = [text for text, _ in itertools.groupby(texts)]
            assert len(runs) == len(set(texts))
            plain = [text for text in runs if "-" not in text and "–" not in text and text.islower()]
            assert plain == sorted(plain, key=lambda text: text.replace("_", " "), reverse=sign < 0)
        key = lambda row: (row["Task"], row["Architecture"])  # noqa: E731
        assert sorted(after, key=key) == sorted(before, key=key)
        where = " within each task" if column in WITHIN else ""
        expect(filters(page).said).to_have_text(f"{len(before)} of {len(before)} rows, by {column}, {way}{where}")
    assert page.locator("table.leaders [aria-sort]").count() == 1
    filters(page).reset.click()
    expect(page.locator("table.leaders [aria-sort]")).to_have_count(0)
    assert rows(page) == before and seen == []


def test_tasks_sort_by_the_numbers_in_their_names(browser: Browser, address: str) -> None:
    page, _ = opened(browser, f"{address}#leaders?sort=Task")
    assert list(dict.fromkeys(task for task, _ in ids(page)))[:2] == ["adding-20", "adding-100"]


# ---------------------------------------------------------------- width


def test_leaders_and_scores_fit_a_wide_screen(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address, viewport={"width": 1440, "height": 900})
    for name in ("Leader table", "Mean score by task and architecture"):
        box = page.get_by_role("region", name=name, exact=True)
        assert box.evaluate("node => node.scrollWidth <= node.clientWidth"), name


def test_verdicts_are_seen_first_and_an_edge_says_that_there_is_more(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address, viewport={"width": 768, "height": 900})
    box = page.get_by_role("region", name="Leader table")
    assert box.evaluate("node => node.scrollWidth > node.clientWidth")
    seen, around = head(page, "Verdict").bounding_box(), box.bounding_box()
    assert seen and around and seen["x"] + seen["width"] <= around["x"] + around["width"]
    # The shadow stays where it is, what hides it goes along.
    assert box.evaluate("node => getComputedStyle(node).backgroundAttachment") == "local, local, scroll, scroll"


# ---------------------------------------------------------------- filters and the address


def test_filters_by_task_family_and_architecture(browser: Browser, address: str, summary: Summary) -> None:
    page, seen = opened(browser, address)
    of = filters(page)
    every = ids(page)
    expect(of.said).to_have_text("25 of 25 rows")
    assert of.task.locator("option").all_inner_texts() == ["all", *summary.plan.task_ids]
    of.task.select_option("shakespeare")
    expect(of.said).to_have_text("5 of 25 rows")
    assert {task for task, _ in ids(page)} == {"shakespeare"}
    of.arch("gru").uncheck()
    of.arch("rnn").uncheck()
    expect(of.said).to_have_text("3 of 25 rows")
    assert {arch for _, arch in ids(page)} == {"lstm", "transformer", "my_arch"}
    of.task.select_option("all")
    expect(of.said).to_have_text("15 of 25 rows")
    assert ids(page) == [(task, arch) for task, arch in every if arch not in ("gru", "rnn")]
    of.family.select_option("probe")
    expect(of.said).to_have_text("9 of 25 rows")
    assert {task for task, _ in ids(page)} == {"adding-20", "adding-100", "recall-4"}
    of.reset.click()
    expect(of.said).to_have_text("25 of 25 rows")
    assert ids(page) == every
    of.leaders.check()
    expect(of.said).to_have_text("5 of 25 rows")
    assert ids(page) == [(task, next(arch for name, arch in every if name == task)) for task in summary.plan.task_ids]
    for arch in ARCHS:
        of.arch(arch).uncheck()
    expect(of.said).to_have_text("0 of 25 rows")
    assert ids(page) == [] and seen == []


def test_a_link_opens_the_same_view(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address)
    of = filters(page)
    of.family.select_option("probe")
    of.arch("my_arch").uncheck()
    head(page, "Score").get_by_role("button").click()
    expect(head(page, "Score")).to_have_attribute("aria-sort", "ascending")
    head(page, "Score").get_by_role("button").click()
    expect(head(page, "Score")).to_have_attribute("aria-sort", "descending")
    again, seen = opened(browser, page.url)
    assert ids(again) == ids(page) and len(ids(page)) == 12
    copy = filters(again)
    assert copy.family.input_value() == "probe" and copy.task.input_value() == ""
    assert copy.arch("lstm").is_checked() and not copy.arch("my_arch").is_checked()
    expect(head(again, "Score")).to_have_attribute("aria-sort", "descending")
    expect(again.locator("#leaders")).to_be_in_viewport()
    copy.leaders.check()
    for arch in ARCHS[:4]:
        copy.arch(arch).uncheck()
    expect(copy.said).to_have_text("0 of 25 rows, by Score, descending within each task")
    third, _ = opened(browser, again.url)
    assert ids(third) == [] and filters(third).leaders.is_checked()
    assert not any(filters(third).arch(arch).is_checked() for arch in ARCHS)
    assert seen == []


def test_what_a_link_asks_for_and_is_not_there_is_left_out(browser: Browser, address: str) -> None:
    page, seen = opened(browser, f"{address}#leaders?Task=nothing&Family=%3Cb%3E&Architecture=lstm&sort=-nothing")
    assert ids(page) == [(task, "lstm") for task in planted.plan(TASKS).task_ids]
    assert filters(page).task.input_value() == filters(page).family.input_value() == ""
    assert page.locator("table.leaders [aria-sort]").count() == 0
    for broken in ("#%", "#%E0%A4%A", "#leaders?%", "#no-such-section"):
        page.evaluate("hash => { location.hash = hash }", broken)
    assert seen == []


def test_the_back_button_goes_back(browser: Browser, address: str) -> None:
    page, seen = opened(browser, address)
    of = filters(page)
    of.task.select_option("psmnist")
    expect(of.said).to_have_text("5 of 25 rows")
    head(page, "Architecture").get_by_role("button").click()
    expect(of.said).to_have_text("5 of 25 rows, by Architecture, ascending")
    page.locator("nav a[href='#scores']").click()
    expect(page.locator("#scores")).to_be_in_viewport()
    expect(of.said).to_have_text("5 of 25 rows, by Architecture, ascending")  # a link to a section leaves the table
    page.go_back()
    expect(of.said).to_have_text("5 of 25 rows, by Architecture, ascending")
    page.go_back()
    expect(of.said).to_have_text("5 of 25 rows")
    assert of.task.input_value() == "psmnist"
    page.go_back()
    expect(of.said).to_have_text("25 of 25 rows")
    assert of.task.input_value() == ""
    page.go_forward()
    expect(of.said).to_have_text("5 of 25 rows")
    assert of.task.input_value() == "psmnist" and seen == []


def test_a_score_leads_to_its_runs_and_back(browser: Browser, address: str) -> None:
    page, _ = opened(browser, f"{address}#leaders?Task=recall-4")
    page.locator("table.leaders tbody tr:visible a").first.click()
    arch = ids(page)[0][1]
    expect(page.locator(f"#cell-recall-4--{arch}")).to_be_in_viewport()
    page.go_back()
    expect(page.locator("#leaders")).to_be_in_viewport()
    assert {task for task, _ in ids(page)} == {"recall-4"}


def test_changes_do_not_move_the_page(browser: Browser, address: str) -> None:
    page, _ = opened(browser, f"{address}#leaders", viewport={"width": 1000, "height": 500})
    page.evaluate("scrollBy(0, 120)")
    before = page.evaluate("scrollY")
    filters(page).task.select_option("psmnist")
    expect(filters(page).said).to_have_text("5 of 25 rows")
    assert page.evaluate("scrollY") == before


# ---------------------------------------------------------------- keyboard


def tab_to(page: Page, wanted: Locator) -> None:
    """Tab, as often as it takes."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if wanted.evaluate("node => node === document.activeElement"):
            return
    raise AssertionError("Tab does not get there")


def test_everything_by_keyboard(browser: Browser, address: str) -> None:
    page, seen = opened(browser, address)
    of = filters(page)
    tab_to(page, of.task)
    page.keyboard.press("ArrowDown")
    expect(of.said).to_have_text("5 of 25 rows")
    assert of.task.evaluate("node => node === document.activeElement")
    tab_to(page, of.arch("lstm"))
    page.keyboard.press("Space")
    expect(of.said).to_have_text("4 of 25 rows")
    button = head(page, "Score").get_by_role("button")
    tab_to(page, button)
    assert button.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(of.said).to_have_text("4 of 25 rows, by Score, ascending within each task")
    page.keyboard.press("Space")
    expect(of.said).to_have_text("4 of 25 rows, by Score, descending within each task")
    assert button.evaluate("node => node === document.activeElement")
    page.keyboard.press("Shift+Tab")
    tab_to(page, page.locator("table.leaders tbody tr:visible a").last)
    expect(page.locator("table.leaders tbody tr:visible a").last).to_be_in_viewport()
    assert seen == []


# ---------------------------------------------------------------- hostile names, copy buttons


def test_hostile_names_stay_names(browser: Browser, tmp_path: Path, summary: Summary) -> None:
    text = json.dumps(summary.plain())
    renamed = {"my_arch": HOSTILE[1], "recall-4": HOSTILE[0], "probe": HOSTILE[2]}
    for name, bad in renamed.items():
        assert f'"{name}"' in text
        text = text.replace(f'"{name}"', json.dumps(bad))
    page, seen = opened(browser, written(tmp_path, Summary.from_data(json.loads(text))))
    of = filters(page)
    of.task.select_option(renamed["recall-4"])
    expect(of.said).to_have_text("5 of 25 rows")
    of.family.select_option(renamed["probe"])
    of.arch("gru").uncheck()
    expect(of.said).to_have_text("4 of 25 rows")
    assert (renamed["recall-4"], renamed["my_arch"]) in ids(page)
    again, complaints = opened(browser, page.url)
    assert ids(again) == ids(page) and filters(again).arch(renamed["my_arch"]).is_checked()
    assert again.locator("script").count() == 1 and again.locator("img, svg[onload]").count() == 0
    assert seen == complaints == []


COPIED = "navigator.clipboard.readText()"


def test_the_copy_button_copies_the_command_and_says_so(browser: Browser, address: str) -> None:
    page, seen = opened(browser, f"{address}#cell-adding-20--gru", permissions=["clipboard-read", "clipboard-write"])
    block = page.locator("#cell-adding-20--gru pre.command")
    button = page.locator("#cell-adding-20--gru button:has(+ pre.command)")
    button.click()
    expect(button).to_have_text("Copied")
    said = page.locator("[role=status].unseen")
    expect(said).to_have_text("Copied")
    copied = page.evaluate(COPIED)
    assert copied == block.text_content() and copied.startswith("seqbench train adding-20 gru --seed 1")
    expect(button).to_have_text("Copy")
    expect(said).to_be_empty()
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject() }")
    button.click()
    expect(button).to_have_text("Selected")
    expect(said).to_have_text("Selected")
    assert page.evaluate("getSelection().toString()") == copied
    assert seen == []
