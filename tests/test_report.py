"""The page: self-contained, stable, escaped, and true to the tables."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import planted
import pytest
from planted import ARCHS, HOSTILE

from seqbench import analyse, report
from seqbench.analyse.summary import Summary
from seqbench.report import charts, figures

TASKS = {"adding": [{"length": 20}, {"length": 50}], "psmnist": [{}]}
BAD = "".join(HOSTILE)
WORST = 0.95 + 0.07  # what a failed run counts as


def score(task: str, arch: str, seed: int) -> float | None:
    """my_arch does not beat the control (0.9); one run of rnn fails."""
    base = 0.95 if arch == "my_arch" else 0.2 + 0.1 * ARCHS.index(arch)
    return None if (arch, seed) == ("rnn", 3) else base + 0.01 * seed


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return planted.summary(tmp_path_factory.mktemp("clean"), planted.plan(TASKS), score)


@pytest.fixture(scope="module")
def page(summary: Summary) -> str:
    return report.render(summary)


class Elements(HTMLParser):
    """Every element of a page with its attributes; text by element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_same_summary_same_bytes(summary: Summary, page: str) -> None:
    assert report.render(Summary.from_data(summary.plain())) == page
    assert len(page.encode()) < 1_500_000


def test_nothing_is_loaded(page: str) -> None:
    for tag, attributes in Elements(page).found:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form"), tag
        assert not {"src", "srcset", "style", "onclick", "onload", "background"} & set(attributes), (tag, attributes)
        if tag != "a":
            assert not any("http" in (value or "") for name, value in attributes.items() if name != "xmlns")
    assert "@import" not in page and not re.search(r"url\(", page)


def test_policy_allows_exactly_the_own_style_and_script(page: str) -> None:
    for tag in ("style", "script"):
        blocks = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert len(blocks) == 1
        code = base64.b64encode(hashlib.sha256(blocks[0].encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{code}&#39;".replace("+", "&#43;") in page.replace("+", "&#43;")
    assert "default-src &#39;none&#39;" in page and "unsafe" not in page.split("</head>")[0].split("<style>")[0]


def test_numbers_of_the_page_are_those_of_the_table(summary: Summary, page: str) -> None:
    frame = analyse.table(summary)
    for row in frame[frame.status == "ok"].itertuples():
        section = page.split(f'id="cell-{row.task}--{row.arch}"')[1].split("</details>")[0]
        assert f'<td class="n">{row.score!r}</td>' in section
        assert row.key[:12] in section and f"seqbench train {row.task} {row.arch} --seed {row.seed}" in section
    means = frame.fillna({"score": WORST}).groupby(["task", "arch"]).score.mean()
    for (task, arch), mean in means.items():
        assert re.search(rf'href="#cell-{task}--{arch}"><span[^>]*>{mean:.3g}<', page), (task, arch, mean)


def test_failures_and_unbeaten_controls_are_visible(page: str) -> None:
    assert "1 of 7 diverged" in page and "loss is not finite" in page
    scores = page.split('id="scores"')[1].split('id="pairs"')[0]
    assert scores.count("no better than mean") == len(planted.plan(TASKS).task_ids)


def test_every_link_has_a_target_and_every_id_is_unique(page: str) -> None:
    elements = Elements(page).found
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {a["href"] for tag, a in elements if tag == "a" and (a["href"] or "").startswith("#")}
    assert links <= {f"#{name}" for name in ids}


def test_semantics(page: str) -> None:
    elements = Elements(page).found
    assert ("html", {"lang": "en"}) in elements
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.count("<table>") == page.count("<caption>") > 10
    assert all("scope" in attributes for tag, attributes in elements if tag == "th")
    assert page.count("<figure>") == page.count("<figcaption>") == page.count("Data of this chart") == 9


def test_sections_come_in_their_order(page: str) -> None:
    order = re.findall(r'<h2 id="(\w+)"', page)
    assert order == [
        *("findings", "leaders", "scores", "pairs", "length", "learning", "cost", "gradient"),
        *("cells", "hardware", "data", "quality", "limits"),
    ]


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    hostile = report.render(planted.summary(tmp_path, planted.plan(TASKS, seeds=(1, 2, 3)), score, BAD))
    tags = [tag for tag, _ in Elements(hostile).found]
    assert tags.count("script") == 1 and "img" not in tags
    assert not any(name.startswith("on") for _, attributes in Elements(hostile).found for name in attributes)
    assert hostile.count("&lt;script&gt;alert(") > 10
    assert not [a for tag, a in Elements(hostile).found if tag == "a" and (a["href"] or "").startswith("javascript")]


def test_hostile_architecture_stays_text_in_charts() -> None:
    looks = charts.styles(['"><img src=x onerror=alert(1)>', "lstm"])
    dots = [charts.Dot(name, x, x + 1.0, x, x + 2.0, f"{name} tip") for name in looks for x in (1.0, 2.0)]
    svg = charts.draw(dots, looks, charts.Axis("x"), charts.Axis("y"), label=BAD)
    root = ET.fromstring(svg)
    assert root.get("aria-label") == BAD
    assert not [element for element in root.iter() if "img" in element.tag or "onerror" in element.attrib]
    tips = [element.text for element in root.iter(f"{{{charts.SVG}}}title")]
    assert tips == [dot.tip for dot in dots]


def test_charts_have_no_colour_of_their_own(summary: Summary) -> None:
    looks = charts.styles(summary.plan.architectures)
    for figure in [
        *figures.by_level(summary, looks),
        *figures.costs(summary, looks),
        *figures.gradient(summary, looks),
    ]:
        colours = {e.get(name) for e in ET.fromstring(figure.svg).iter() for name in ("fill", "stroke")} - {None}
        assert colours <= {"none", "transparent", "currentColor", *(f"var(--arch-{n})" for n in range(5))}, colours


def test_architectures_keep_their_look_and_differ() -> None:
    names = [f"a{place}" for place in range(20)]
    looks = charts.styles(names)
    assert charts.styles(names[:4]) == {name: looks[name] for name in names[:4]}
    assert len({(look.colour, tuple(look.dash), look.shape) for look in looks.values()}) == 20
    assert [looks[name].colour for name in names[:2]] == ["var(--arch-0)", "var(--arch-1)"]


def test_decades() -> None:
    assert charts.decades([0.05, 0.25]) == (0.05, 0.1, 0.2)
    assert charts.decades([3.0, 2e4])[-1] == 1.0 and len(charts.decades([1e-20, 1.0])) <= 8
    assert charts.decades([]) == ()


def test_chart_tables_hold_failed_measurements_and_flags(summary: Summary) -> None:
    one = summary.measured[1]
    broken = one.measurements[2].model_copy(update={"value": None, "status": "out_of_memory", "flags": ("contended",)})
    changed = one.model_copy(update={"measurements": (*one.measurements[:2], broken, *one.measurements[3:])})
    other = summary.model_copy(update={"measured": (summary.measured[0], changed, *summary.measured[2:])})
    figure = figures.costs(other, charts.styles(summary.plan.architectures))[0]
    assert figure.rows[-1][2] == "out_of_memory (contended)"


def test_page_says_what_the_quick_preset_cannot(page: str) -> None:
    limits = page.split('id="limits"')[1]
    assert "The quick preset shows that everything works" in limits and "7 seeds" in limits


def test_page_of_failures_only_is_still_a_page(tmp_path: Path) -> None:
    of = planted.plan(TASKS, ("rnn", "gru"), (1, 2))
    failed = planted.summary(tmp_path, of, lambda *_: None)
    zero = [m.model_copy(update={"value": None}) for m in failed.measured[0].measurements]
    measured = tuple(one.model_copy(update={"measurements": tuple(zero)}) for one in failed.measured)
    page = report.render(failed.model_copy(update={"measured": measured}))
    assert page.count("no score") >= 6 and "2 of 2 diverged" in page and "Nothing was measured." in page
