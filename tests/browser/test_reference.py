"""The report that lies in the repository: it opens as any other, and says what its results.csv says."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from test_leaders import rows, value
from test_page import OPEN, opened

pytestmark = pytest.mark.browser
FOLDER = Path(__file__).parents[2] / "reports" / "reference"
ADDRESS = (FOLDER / "index.html").as_uri()


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_opens_quietly_and_nothing_sticks_out(browser: Browser, width: int) -> None:
    page, seen = opened(browser, ADDRESS, viewport={"width": width, "height": 900})
    page.evaluate(OPEN)
    assert seen == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert all(box["width"] > 100 for chart in page.locator("svg.chart").all() if (box := chart.bounding_box()))


def test_leaders_are_the_means_of_results_csv(browser: Browser) -> None:
    found: dict[tuple[str, str], list[str]] = {}
    with (FOLDER / "results.csv").open(encoding="utf-8") as file:
        for run in csv.DictReader(file):
            found.setdefault((run["task"], run["arch"]), []).append(run["score"])
    page, _ = opened(browser, ADDRESS)
    shown = rows(page)
    assert len(shown) >= 5 * 4
    whole = 0
    for row in shown:
        scores = found[row["Task"][0], row["Architecture"][0]]
        assert row["Seeds"][0] == f"{sum(map(bool, scores))}/{len(scores)}"
        if all(scores):  # where one failed, test_leaders.py says what it counts as
            assert value(row, "Score") == pytest.approx(statistics.fmean(map(float, scores)), rel=1e-12)
            whole += 1
    assert whole > len(shown) / 2


def test_is_small_and_names_its_hardware(browser: Browser) -> None:
    assert (FOLDER / "index.html").stat().st_size < 1.5e6
    page, _ = opened(browser, ADDRESS, java_script_enabled=False)
    hardware = page.locator("section[aria-labelledby=hardware] h3").first.inner_text()
    assert hardware in (FOLDER / "README.md").read_text(encoding="utf-8")
