"""Accessibility: axe-core finds nothing, whatever the colours, the width or the medium, with everything unfolded."""

from __future__ import annotations

from importlib import resources
from typing import Any

import planted
import pytest
from planted import ARCHS, HOSTILE
from playwright.sync_api import Browser, Page
from test_page import OPEN

from seqbench import report

pytestmark = pytest.mark.browser
AXE = resources.files("axe_playwright_python").joinpath("axe.min.js")
TASKS: dict[str, list[dict[str, Any]]] = {"multi30k": [{"connection": "attention"}], "jsb": [{}]}
"""Few, for axe looks at every element; between them they have tables, charts, maps and sounds."""
RUN = """async () => {
  const found = await axe.run(document, {resultTypes: ['violations']});
  return found.violations.map(one => `${one.id}: ${one.nodes.length} x ${one.nodes[0].html.slice(0, 200)} `
    + one.nodes[0].failureSummary);
}"""


def score(task: str, arch: str, seed: int) -> float | None:
    """One run of rnn fails, the others differ enough to be told apart."""
    if (arch, seed) == ("rnn", 2):
        return None
    return (20 if task.startswith("multi30k") else 0.2) + 0.1 * ARCHS.index(arch) + 0.01 * seed


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A plain page, and one with hostile text in every free field."""
    found = {}
    for name, hostile in (("plain", ""), ("hostile", "".join(HOSTILE))):
        root = tmp_path_factory.mktemp("axe")
        of = planted.plan(TASKS, ARCHS[:2], (1, 2, 3) if hostile else (1, 2, 3, 4, 5, 6, 7))
        path = root / "index.html"
        path.write_text(report.render(planted.summary(root, of, score, hostile)), encoding="utf-8")
        found[name] = path.as_uri()
    return found


def violations(page: Page) -> list[str]:
    """What axe finds, one line for each rule that is broken."""
    page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    found: list[str] = page.evaluate(RUN)
    return found


# Not every combination: axe takes long, above all over contrast.
@pytest.mark.parametrize(
    ("name", "scheme", "medium", "width"),
    [
        *(("plain", "light", "screen", 1440), ("plain", "light", "screen", 390), ("plain", "dark", "screen", 390)),
        *(("plain", "light", "print", 1440), ("hostile", "light", "screen", 390)),
    ],
)
def test_axe_finds_nothing(
    browser: Browser, addresses: dict[str, str], name: str, scheme: Any, medium: Any, width: int
) -> None:
    # The page's own policy would keep axe out as it keeps out any other script.
    context = browser.new_context(bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(addresses[name])
    page.evaluate(OPEN)
    page.emulate_media(media=medium)
    assert violations(page) == []


def test_axe_sees_what_is_wrong(browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_content("<html><title>x</title><body><h1>x</h1><img src=y><p style='color: #aaa'>pale</p></html>")
    found = " ".join(violations(page))
    assert all(rule in found for rule in ("html-has-lang", "image-alt", "color-contrast"))
