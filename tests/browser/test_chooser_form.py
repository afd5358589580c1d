"""The form that says which architecture to use: the answers of the analysis, offline, by keyboard, and quiet."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import planted
import pytest
from playwright.sync_api import Browser, Page
from test_page import CONTRAST, opened

from seqbench import report
from seqbench.analyse import chooser
from seqbench.analyse.chooser import BANDS, Limits, choose
from seqbench.analyse.conclusions import Advice
from seqbench.analyse.summary import Summary
from seqbench.report.chooser import HEAD, cells

pytestmark = pytest.mark.browser
TASKS = {"adding": [{"length": 20}, {"length": 50}], "recall": [{"pairs": 4}], "psmnist": [{}], "imdb": [{}]}
ARCHS = planted.ARCHS[:4]
ROWS = "fieldset ~ .scroll tbody tr"
FILL = """values => {
  const fields = [...document.querySelectorAll('fieldset :is(select, input)')];
  fields.forEach((field, place) => { field.value = values[place]; });
  fields[0].dispatchEvent(new Event('input', { bubbles: true }));
}"""
LABELS = ["Task family", "Sequence length", "At most ms per step", "At most MB to train", "At most parameters"]


def score(task: str, arch: str, seed: int) -> float | None:
    """Clear on adding, noise elsewhere; a run of gru fails."""
    noise = float(np.random.default_rng([seed, ARCHS.index(arch), len(task)]).normal())
    if (task, arch, seed) == ("psmnist", "gru", 2):
        return None
    return (0.3 + 0.1 * ARCHS.index(arch) if task.startswith("adding") else 0.6) + 0.02 * noise


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """rnn may not enter imdb; parameters differ."""
    of = planted.summary(tmp_path_factory.mktemp("chooser"), planted.plan(TASKS, ARCHS), score)
    options = []
    for one in of.options:
        every = [o.model_copy(update={"costs": (*o.costs[:4], 6000 + 10 * n)}) for n, o in enumerate(one.options)]
        odds = one.odds
        if one.task == "imdb":
            every[0] = every[0].model_copy(update={"out": "fails a gate", "better_than": ()})
            odds = tuple(() if subset & 1 else row for subset, row in enumerate(odds))
        options.append(one.model_copy(update={"options": tuple(every), "odds": odds}))
    return of.model_copy(update={"options": tuple(options), "advice": chooser.advice(options)})


@pytest.fixture(scope="module")
def address(summary: Summary, tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(summary, tmp_path_factory)


def written(summary: Summary, folder: pytest.TempPathFactory) -> str:
    path = folder.mktemp("page") / "index.html"
    path.write_text(report.render(summary), encoding="utf-8")
    return path.as_uri()


def shown(page: Page) -> tuple[str, list[list[str]]]:
    """What the form says, and the rows of its table."""
    rows = page.locator(ROWS).evaluate_all("rows => rows.map(row => [...row.cells].map(cell => cell.textContent))")
    return page.locator("output").inner_text(), rows


def expected(advice: Advice) -> tuple[str, list[list[str]]]:
    return advice.text, [[row.arch, *cells(row)] for row in advice.rows]


def asked(summary: Summary, family: str | None, band: str | None, limits: Limits) -> Advice | None:
    """The answer of the analysis."""
    own = [of for of in summary.options if family in (None, of.family) and band in (None, chooser.band(of.length))]
    return choose(own, family or "any", band or "any", limits) if own else None


def test_the_form_answers_as_the_analysis_does(browser: Browser, address: str, summary: Summary) -> None:
    """Every family, every band, limits that leave all, some, one and none: text and table are the same."""
    page, seen = opened(browser, address)
    families = [None, *sorted({of.family for of in summary.options})]
    limits = [
        *(Limits(), Limits(latency=0.15), Limits(memory=100.5), Limits(parameters=6015), Limits(latency=0.01)),
        *(Limits(latency=1, parameters=6010), Limits(latency=0.05), Limits(1.5, 99.0, 6025)),
    ]
    silent = 0
    for family, band, limit in itertools.product(families, [None, *BANDS], limits):
        page.evaluate(FILL, [family or "any", band or "any", *("" if most is None else str(most) for most in limit)])
        advice = asked(summary, family, band, limit)
        if advice is None:
            silent += 1
            assert page.locator("output").inner_text() == "No measurement matches."
            assert not page.locator(ROWS).first.is_visible()
        else:
            assert shown(page) == expected(advice), (family, band, limit)
    assert silent > 10 and seen == []


def test_limits_leave_out_with_the_reason(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address)
    page.get_by_label("Task family").select_option("text")
    assert shown(page)[1][-1][-1] == "fails a gate on imdb"
    page.get_by_label("At most ms per step").fill("0.12")
    text, rows = shown(page)
    assert text == "On the front, with P(best): lstm over 99 %. On imdb, only lstm is left."
    reasons = {row[0]: row[-1] for row in rows}
    assert reasons["gru"] == "0.15 ms per step: over the limit" and reasons["lstm"] == "on the front"
    page.get_by_label("At most MB to train").fill("1")
    assert shown(page)[0] == "No architecture is left."


def test_noise_is_called_noise(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address)
    page.get_by_label("Task family").select_option("pixels")
    assert "these 7 seeds cannot tell" in shown(page)[0] and "apart." in shown(page)[0]


def test_by_keyboard_alone(browser: Browser, address: str) -> None:
    page, seen = opened(browser, address)
    page.get_by_label(LABELS[0]).focus()
    page.keyboard.type("text")
    assert "imdb" in shown(page)[0] and "adding" not in shown(page)[0]
    for label in LABELS[1:]:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.labels[0].firstChild.data") == label
    page.keyboard.type("6015")
    page.keyboard.press("Enter")
    assert "only lstm is left" in shown(page)[0] and seen == []


def test_every_field_has_a_name_and_the_answer_is_spoken(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address)
    for place, label in enumerate(LABELS):
        role: Any = "combobox" if place < 2 else "spinbutton"
        assert page.get_by_role("group", name="Your case").get_by_role(role, name=label, exact=True).count() == 1, label
    assert page.get_by_role("group", name="Your case").count() == 1
    own = page.locator("section[aria-labelledby=chooser]")
    assert own.get_by_role("status").count() == 1  # an output: announced when it changes
    assert page.locator("fieldset ~ .scroll thead th").all_inner_texts() == list(HEAD)
    assert page.get_by_role("region", name="Your case").count() == 1


def test_without_javascript_the_table_answers(browser: Browser, address: str, summary: Summary) -> None:
    page, seen = opened(browser, address, java_script_enabled=False)
    assert page.locator("fieldset, output").count() == 0
    table = page.locator("details[data-options] table")
    assert table.is_visible()
    said = table.locator("th[colspan] .sub").all_inner_texts()
    assert said == [one.text for one in summary.advice]
    rows = table.locator("tbody tr:not(:has(th[colspan]))").all()
    found = [row.locator("th, td").all_inner_texts() for row in rows]
    assert found == [row for one in summary.advice for row in expected(one)[1]] and seen == []


def test_hostile_names_stay_text(browser: Browser, summary: Summary, tmp_path_factory: pytest.TempPathFactory) -> None:
    bad = "".join(planted.HOSTILE) + "' autofocus onfocus='alert(5)"
    options = [
        one.model_copy(
            update={"task": f"{bad}{one.task}", "name": bad, "family": f"{bad}{one.family}"}
            | {"options": tuple(o.model_copy(update={"out": bad}) if o.out else o for o in one.options)}
        )
        for one in summary.options
    ]
    hostile = summary.model_copy(update={"options": tuple(options), "advice": chooser.advice(options)})
    page, seen = opened(browser, written(hostile, tmp_path_factory))
    for label in (f"{bad}text", f"{bad}probe"):
        page.get_by_label("Task family").select_option(label)
        page.locator("fieldset input").first.fill("0.12")
        assert f"{bad}" in page.locator("output").inner_text()
    assert page.locator("script").count() == 1 and page.locator("img, [onfocus], [autofocus]").count() == 0
    assert seen == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_sticks_out_and_all_can_be_read(browser: Browser, address: str, width: int, scheme: Any) -> None:
    page, _ = opened(browser, address, viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [one.bounding_box() for one in page.locator("fieldset :is(input, select)").all()]
    assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] >= 24 for box in boxes)
    found = page.evaluate(CONTRAST.replace("'p, li,", "'#chooser ~ output, label, legend, p, li,"))
    assert found["text"] >= 4.5, found
