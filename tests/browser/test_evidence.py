"""The sections of evidence in a real browser: quiet, readable in both schemes, within every screen."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import concluded
import planted
import pytest
from playwright.sync_api import Browser
from test_page import CONTRAST, OPEN, opened

pytestmark = pytest.mark.browser


def written(root: Path, hostile: str) -> str:
    """The address of the sections, with that in every free text."""
    found: types.SimpleNamespace = concluded.conclusions(concluded.grid(root, hostile), hostile)
    path = root / "index.html"
    path.write_text(concluded.page(found), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("page"), "")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("hostile"), "".join(planted.HOSTILE))


def test_opens_quietly_and_runs_nothing_foreign(browser: Browser, hostile: str) -> None:
    page, seen = opened(browser, hostile)
    page.evaluate(OPEN)
    assert page.locator("script").count() == 1 and page.locator("img").count() == 0
    assert page.locator("svg.chart").count() == 10
    assert seen == []


def test_everything_is_there_without_javascript(browser: Browser, address: str) -> None:
    page, seen = opened(browser, address, java_script_enabled=False)
    assert page.locator("h2").count() == 6
    grounds = page.locator("section[aria-labelledby=claims] details")
    grounds.first.locator("summary").click()
    assert grounds.first.locator(".verdict").first.is_visible()
    assert page.locator("svg.chart").first.bounding_box()["width"] > 200  # type: ignore[index]
    assert seen == []


@pytest.mark.parametrize("width", [390, 768, 1440])
@pytest.mark.parametrize("name", ["address", "hostile"])
def test_nothing_sticks_out(browser: Browser, name: str, width: int, request: pytest.FixtureRequest) -> None:
    page, _ = opened(browser, request.getfixturevalue(name), viewport={"width": width, "height": 900})
    page.evaluate(OPEN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert all(box.bounding_box()["width"] < width for box in page.locator(".scroll").all())  # type: ignore[index]


def test_letters_of_the_drawn_ranks_lie_within_their_picture(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address, viewport={"width": 390, "height": 900})
    for title in ("Critical-difference diagram", "psmnist"):
        picture = page.locator("figure", has=page.locator("h3", has_text=title)).last.locator("svg.chart")
        around = picture.bounding_box()
        assert around is not None
        for box in (text.bounding_box() for text in picture.locator("text").all()):
            assert box is not None and around["x"] - 1 <= box["x"], title
            assert box["x"] + box["width"] <= around["x"] + around["width"] + 1, title
            assert around["y"] - 1 <= box["y"] and box["y"] + box["height"] <= around["y"] + around["height"] + 1, title


SIGNS = "nodes => nodes.map(node => getComputedStyle(node, '::before').content + getComputedStyle(node).borderStyle)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_and_signs(browser: Browser, address: str, scheme: Any) -> None:
    page, _ = opened(browser, address, color_scheme=scheme)
    page.evaluate(OPEN)
    found = page.evaluate(CONTRAST.replace("'p, li,", "'p, li, .verdict, tr.grey *, strong, .sub,"))
    assert found["text"] >= 4.5 and found["labels"] >= 4.5 and found["lines"] >= 3, found
    words = page.locator(".verdict").all_inner_texts()
    signs = dict(zip(words, page.locator(".verdict").evaluate_all(SIGNS), strict=True))
    assert signs["supported"] == signs["reproduced"] == '"✓"solid' and signs["refuted"] == '"✗"solid'
    assert signs["undecided"] == '"?"dashed' and signs["not run here"] == signs["missing"] == '"–"dashed'


def test_a_ground_leads_to_its_numbers(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address)
    page.evaluate(OPEN)
    page.get_by_role("link", name="lstm against rnn on adding-20").first.click()
    assert page.evaluate("location.hash") in {"#task-adding-50", "#cell-adding-20--lstm", "#reach"}
    assert page.evaluate("document.getElementById(location.hash.slice(1)).getBoundingClientRect().top") < 900
