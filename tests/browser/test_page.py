"""The page in a real browser: quiet, offline, safe, readable."""

from __future__ import annotations

from typing import Any

import planted
import pytest
from planted import ARCHS, HOSTILE
from playwright.sync_api import Browser, Page, expect

from seqbench import report

pytestmark = pytest.mark.browser
OPEN = """() => {
  for (const node of document.querySelectorAll('details')) node.open = true;
  for (const node of document.querySelectorAll('main > section')) node.style.contentVisibility = 'visible';
}"""
"""Unfolds everything and lays it out, so that nothing wide is cut before it is seen."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with hostile text in every free field."""
    root = tmp_path_factory.mktemp("page")
    tasks = {
        "adding": [{"length": 20}, {"length": 50}],
        "psmnist": [{}],
        "shakespeare": [{}],
        "multi30k": [{"connection": "none"}, {"connection": "attention"}],
        "jsb": [{}],
    }
    of = planted.plan(tasks, seeds=(1, 2, 3))

    def score(task: str, arch: str, seed: int) -> float | None:
        return (
            None if seed == 3 else (20 if task.startswith("multi30k") else 0.2) + 0.1 * ARCHS.index(arch) + 0.01 * seed
        )

    path = root / "index.html"
    path.write_text(report.render(planted.summary(root, of, score, "".join(HOSTILE))), encoding="utf-8")
    return path.as_uri()


def opened(browser: Browser, address: str, **context: Any) -> tuple[Page, list[str]]:
    """The page, and everything it complained about, asked for or popped up."""
    page = browser.new_context(**context).new_page()
    seen: list[str] = []
    page.on("console", lambda message: seen.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: seen.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (seen.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: seen.append(f"request: {request.url}"))
    page.goto(address)
    seen.remove(f"request: {address.split('#')[0]}")
    inside = [
        one for one in seen if one.startswith("request: data:audio/")
    ]  # what is in the page leaves it for nowhere
    for one in inside:
        seen.remove(one)
    return page, seen


def test_opens_quietly_and_runs_nothing_foreign(browser: Browser, address: str) -> None:
    page, seen = opened(browser, address)
    page.evaluate(OPEN)
    assert page.locator("script").count() == 1 and page.locator("img").count() == 0
    assert page.locator("svg.chart").count() == 47
    assert page.locator("svg.map").count() == 2 * len(ARCHS) + 1
    assert page.locator("button:has(+ pre.command)").count() == page.locator("pre.command").count() > 10
    assert seen == []


INJECT = """() => {
  const script = document.createElement('script');
  script.textContent = 'window.ran = 1';
  const image = document.createElement('div');
  image.innerHTML = '<svg onload="window.ran = 1"></svg>';
  document.body.append(script, image);
}"""


def test_injected_script_is_blocked(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address)
    page.evaluate(INJECT)
    assert page.evaluate("window.ran") is None


def test_a_link_opens_its_cell(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address)
    target = page.locator("#cell-adding-20--gru")
    assert not target.is_visible()
    page.locator("#scores ~ .scroll a[href='#cell-adding-20--gru']").click()
    assert target.is_visible() and target.locator("pre.command").inner_text().startswith("seqbench train adding-20 gru")


@pytest.mark.parametrize("place", ["cell-adding-20--gru", "task-jsb", "claims", "limits"])
def test_an_address_leads_to_its_place(browser: Browser, address: str, place: str) -> None:
    """Though what lies before it is not laid out yet."""
    page, _ = opened(browser, f"{address}#{place}", viewport={"width": 1000, "height": 700})
    target = page.locator(f"[id='{place}']")
    expect(target).to_be_in_viewport()
    page.wait_for_timeout(300)
    expect(target).to_be_in_viewport()


def test_works_without_javascript(browser: Browser, address: str) -> None:
    page, seen = opened(browser, address, java_script_enabled=False)
    assert page.locator("h2").count() == 24
    page.locator("details.cell > summary").first.click()
    assert page.locator("details.cell pre.command").first.is_visible()
    assert page.locator("svg.chart").first.bounding_box()["width"] > 200  # type: ignore[index]
    page.locator("summary", has_text="Weights as numbers").first.click()
    assert page.locator("figure details[open] td").first.inner_text() == "0.70"
    assert seen == []


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_nothing_sticks_out(browser: Browser, address: str, width: int) -> None:
    page, _ = opened(browser, address, viewport={"width": width, "height": 900})
    page.evaluate(OPEN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.locator(".scroll:has(> svg.map)")
    assert boxes.count() == 2 * len(ARCHS) + 1  # attention, and music with how it goes on
    assert all(box.bounding_box()["width"] < width for box in boxes.all())


def test_samples_keep_their_lines(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address)
    page.evaluate(OPEN)
    said = page.locator("#samples ~ .sample .said").first.inner_text()
    assert said == planted.VERSE.rstrip("\n") or said == planted.VERSE
    assert page.locator("svg.map text").first.evaluate("node => getComputedStyle(node).fill") == page.evaluate(
        "getComputedStyle(document.body).color"
    )


def test_music_plays(browser: Browser, address: str) -> None:
    page, seen = opened(browser, address)
    sounds = page.locator("audio")
    assert sounds.count() == len(ARCHS) + 1
    length = sounds.first.evaluate(
        "node => new Promise((well, ill) => { node.onloadedmetadata = () => well(node.duration);"
        " node.onerror = () => ill(node.error.message); node.load() })"
    )
    assert 2 < length < 4
    assert seen == []


CONTRAST = """() => {
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(channel);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const ratio = text => { const a = light(text); return (Math.max(a, paper) + 0.05) / (Math.min(a, paper) + 0.05); };
  const worst = (query, property) => Math.min(
    ...[...document.querySelectorAll(query)].map(node => getComputedStyle(node)[property])
      .filter(text => text.startsWith('rgb(')).map(ratio));
  return {
    text: worst('p, li, td, th, a, caption, figcaption, summary, .warn, dt, dd', 'color'),
    labels: worst('svg.chart text, svg.map text', 'fill'),
    lines: worst('.looks path[stroke], svg.chart path[stroke^="var"]', 'stroke'),
  };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(browser: Browser, address: str, scheme: Any) -> None:
    page, _ = opened(browser, address, color_scheme=scheme)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    found = page.evaluate(CONTRAST)
    assert found["text"] >= 4.5 and found["labels"] >= 4.5 and found["lines"] >= 3, found


def test_print_shows_what_is_folded(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address)
    page.emulate_media(media="print")
    assert page.locator("details.cell table").first.is_visible()
    assert page.locator("svg.map").first.is_visible()
