"""The page: self-contained, stable, escaped, and true to the tables."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import planted
import pytest
import soundfile
from planted import ARCHS, HOSTILE

from seqbench import analyse, archs, report
from seqbench.analyse import cores
from seqbench.analyse.findings import number, span
from seqbench.analyse.summary import Cell, Summary
from seqbench.report import charts, figures, rolls, samples, settings, svg

KINDS = {
    "recall": [{"pairs": 4}, {"pairs": 8}],
    "shakespeare": [{}],
    "ptb": [{}],
    "multi30k": [{"connection": "none"}, {"connection": "attention"}],
    "jsb": [{}],
    "fsdd_strings": [{}],
    "scfd": [{}],
}
LEVEL = {
    **{"recall": 0.5, "imdb": 0.8, "shakespeare": 1.7, "ptb": 120.0, "multi30k": 25.0},
    **{"jsb": 8.4, "fsdd_strings": 0.1, "scfd": 0.7},
}
TASKS = {"adding": [{"length": 20}, {"length": 50}], "psmnist": [{}]}
BAD = "".join(HOSTILE)
WORST = 0.95 + 0.07  # what a failed run counts as


def score(task: str, arch: str, seed: int) -> float | None:
    """my_arch does not beat the control (0.9); one run of rnn fails."""
    base = 0.95 if arch == "my_arch" else 0.2 + 0.1 * ARCHS.index(arch)
    return None if (arch, seed) == ("rnn", 3) else base + 0.01 * seed


def score_of_kinds(task: str, arch: str, seed: int) -> float | None:
    """The first run of rnn fails."""
    base = LEVEL.get(task.split("-")[0], 0.5)
    return None if (arch, seed) == ("rnn", 1) else base * (1 + 0.02 * ARCHS.index(arch) + 0.003 * seed)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """Labels at every step, streams, sequences, music, speech, video."""
    of = planted.plan(KINDS, ARCHS[:4], (1, 2, 3))
    return planted.summary(tmp_path_factory.mktemp("kinds"), of, score_of_kinds)


@pytest.fixture(scope="module")
def kinds_page(kinds: Summary) -> str:
    return report.render(kinds)


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return planted.summary(tmp_path_factory.mktemp("clean"), planted.plan(TASKS), score)


@pytest.fixture(scope="module")
def page(summary: Summary) -> str:
    return report.render(summary)


class Elements(HTMLParser):
    """Every element of a page with its attributes; the text of those of class `said`; the rows of all tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.found.append((tag, attributes))
        self._open.append(f"{tag}.{attributes.get('class') or ''}")
        if "said" in (attributes.get("class") or ""):
            self.said.append("")
        elif tag == "caption":
            self._rows = []
            self._caption = ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("th", "td"):
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and not self._open.pop().startswith(f"{tag}."):
            pass
        if tag == "caption":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        inside = [name.split(".")[0] for name in self._open]
        if any(name.endswith(".said") for name in self._open):
            self.said[-1] += data
        elif "caption" in inside:
            self._caption += data
        elif {"td", "th"} & set(inside):
            self._rows[-1][-1] += data


def table(page: str, caption: str) -> list[list[str]]:
    """The rows of a table, cells as words with single blanks."""
    return [[" ".join(cell.split()) for cell in row] for row in Elements(page).tables[caption]]


def test_same_summary_same_bytes(summary: Summary, page: str, kinds: Summary, kinds_page: str) -> None:
    assert report.render(Summary.from_data(summary.plain())) == page
    assert report.render(Summary.from_data(kinds.plain())) == kinds_page


def test_a_page_of_the_full_benchmark_is_below_a_megabyte_and_a_half(kinds: Summary) -> None:
    """34 task ids, two of music, 4 architectures, 8 seeds, 40 looks at validation, as in the full preset."""
    tasks, cells = [], []
    for place in range(4):
        for task in kinds.tasks:
            if task.seconds and place > 1:
                continue
            tasks.append(task.model_copy(update={"id": f"{task.id}{place}", "name": f"{task.name}{place}"}))
            cells += [large(cell, f"{task.id}{place}") for cell in kinds.of_task(task.id)]
    known = {task.id for task in tasks}
    every = [pair.model_copy(update={"task": f"{pair.task}{n}"}) for n in range(4) for pair in kinds.pairs]
    pairs = [pair for pair in every if pair.task in known]
    full = kinds.model_copy(update={"tasks": tuple(tasks), "cells": tuple(cells), "pairs": tuple(pairs)})
    size = len(report.render(full).encode())
    assert 1_000_000 < size < 1_500_000


def large(cell: Cell, task: str) -> Cell:
    """The cell with the seeds and looks of the full preset, under another task id."""
    last = cell.runs[-1]
    curve = [
        last.curve[0].model_copy(update={"step": 500 * look, "valid": 0.123456 / look + len(cell.arch)})
        for look in range(1, 41)
    ]
    runs = [last.model_copy(update={"task": task, "seed": seed, "curve": tuple(curve)}) for seed in range(1, 9)]
    evidence = cell.evidence.model_copy(
        update={
            "task": task,
            "results": tuple(runs),
            "provenances": cell.evidence.provenances[:1] * 8,
            "commands": tuple(cell.evidence.commands[0].replace("--seed 1", f"--seed {seed}") for seed in range(1, 9)),
        }
    )
    return cell.model_copy(update={"evidence": evidence, "scores": (last.score,) * 8})


def test_the_script_is_below_ten_kilobytes(page: str) -> None:
    assert len(page.split("<script>")[1].split("</script>")[0].encode()) < 10_000


@pytest.mark.parametrize("name", ["page", "kinds_page"])
def test_nothing_is_loaded(name: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(name)
    for tag, attributes in Elements(page).found:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form"), tag
        inside = (
            {"src"} if tag == "audio" and (attributes["src"] or "").startswith("data:audio/mpeg;base64,") else set()
        )
        foreign = {"src", "srcset", "style", "onclick", "onload", "background"} - inside
        assert not foreign & set(attributes), (tag, attributes)
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


def test_a_long_curve_lists_some_looks_and_the_last(kinds: Summary) -> None:
    cell = large(kinds.cell("ptb", "gru"), "ptb")
    cells = tuple(cell if one.task == "ptb" and one.arch == "gru" else one for one in kinds.cells)
    looks = charts.styles(kinds.plan.architectures)
    (figure,) = (of for of in figures.curves(kinds.model_copy(update={"cells": cells}), looks) if of.title == "ptb")
    steps = [float(row[0]) for row in figure.rows]
    every = {point.step for run in cell.runs for point in run.curve} | {
        point.step for one in cells if one.task == "ptb" for run in one.runs for point in run.curve
    }
    assert len(every) > figures.LISTED >= len(steps) - 1 > figures.LISTED / 2
    assert steps == sorted(steps) and steps[-1] == max(every) and set(steps) <= every
    assert f"about {figures.LISTED} of the {len(every)} looks" in figure.caption


def test_one_command_makes_all_seeds_of_a_cell(summary: Summary) -> None:
    cell = summary.cell("adding-20", "gru")
    (command,) = settings.commands(cell)
    seeds = "".join(f" --seed {run.seed}" for run in cell.runs)
    assert f"seqbench train adding-20 gru{seeds} --preset" in command
    odd = cell.evidence.model_copy(update={"commands": (*cell.evidence.commands[:-1], "another")})
    assert settings.commands(cell.model_copy(update={"evidence": odd})) == list(odd.commands)


def test_numbers_of_the_page_are_those_of_the_table(summary: Summary, page: str) -> None:
    frame = analyse.table(summary)
    for row in frame[frame.status == "ok"].itertuples():
        section = page.split(f'id="cell-{row.task}--{row.arch}"')[1].split("</details>")[0]
        assert f"<td>{row.score!r}</td>" in section
        assert row.key[:16] in section and f" --seed {row.seed} " in section.split("</pre>")[0]
    means = frame.fillna({"score": WORST}).groupby(["task", "arch"]).score.mean()
    for (task, arch), mean in means.items():
        assert re.search(rf'href="#cell-{task}--{arch}"><span[^>]*>{mean:.3g}<', page), (task, arch, mean)


def test_failures_and_unbeaten_controls_are_visible(page: str) -> None:
    assert "1 of 7 diverged" in page and "loss is not finite" in page
    scores = page.split('id="scores"')[1].split('id="pairs"')[0]
    assert scores.count("no better than mean") == len(planted.plan(TASKS).task_ids)


@pytest.mark.parametrize("name", ["page", "kinds_page"])
def test_every_link_has_a_target_and_every_id_is_unique(name: str, request: pytest.FixtureRequest) -> None:
    elements = Elements(request.getfixturevalue(name)).found
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {a["href"] for tag, a in elements if tag in ("a", "use") and (a["href"] or "").startswith("#")}
    assert sum(tag == "use" for tag, _ in elements) > 20
    assert links <= {f"#{name}" for name in ids}


@pytest.mark.parametrize(("name", "charts"), [("page", 9), ("kinds_page", 16)])
def test_semantics(name: str, charts: int, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(name)
    elements = Elements(page).found
    assert ("html", {"lang": "en"}) in elements
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(re.findall("<table[ >]", page)) == page.count("<caption>") > 10
    assert all("scope" in attributes for tag, attributes in elements if tag == "th")
    assert page.count("Data of this chart") == page.count('class="chart"') == charts
    assert page.count("<figure>") == page.count("<figcaption>") == charts + page.count("Weights as numbers")
    assert all("aria-label" in a for tag, a in elements if tag == "svg" and a.get("role") == "img")


def test_sections_come_in_their_order(page: str) -> None:
    order = re.findall(r'<h2 id="(\w+)"', page)
    assert order == [
        *("findings", "leaders", "scores", "pairs", "levels", "learning", "samples", "cost", "gradient"),
        *("cells", "hardware", "data", "quality", "limits"),
    ]


@pytest.mark.parametrize("tasks", [TASKS, KINDS])
def test_hostile_text_stays_text(tmp_path: Path, tasks: dict[str, list[dict[str, int]]]) -> None:
    of = planted.plan(tasks, seeds=(1, 2, 3))
    hostile = report.render(planted.summary(tmp_path, of, score if tasks is TASKS else score_of_kinds, BAD))
    tags = [tag for tag, _ in Elements(hostile).found]
    assert tags.count("script") == 1 and "img" not in tags
    assert not any(name.startswith("on") for _, attributes in Elements(hostile).found for name in attributes)
    assert hostile.count("&lt;script&gt;alert(") > 10
    assert not [a for tag, a in Elements(hostile).found if tag == "a" and (a["href"] or "").startswith("javascript")]


def test_hostile_architecture_stays_text_in_charts() -> None:
    looks = charts.styles(['"><img src=x onerror=alert(1)>', "lstm"])
    dots = [charts.Dot(name, x, x + 1.0, x, x + 2.0, f"{name} tip") for name in looks for x in (1.0, 2.0)]
    drawn = charts.draw(dots, looks, charts.Axis("x"), charts.Axis("y"), label=BAD)
    root = ET.fromstring(drawn)
    assert root.get("aria-label") == BAD
    assert not [element for element in root.iter() if "img" in element.tag or "onerror" in element.attrib]
    tips = [element.text for element in root.iter(svg.tag("title"))]
    assert tips == [dot.tip for dot in dots]


def test_hostile_level_stays_text() -> None:
    looks = charts.styles(["rnn", "lstm"])
    dots = [charts.Dot(name, level, 1.0, 0.5, 2.0, BAD) for name in looks for level in (BAD, "none")]
    drawn = charts.draw_categories(dots, looks, BAD, charts.Axis(BAD), label=BAD, reference=[(BAD, 1.0)])
    root = ET.fromstring(drawn)
    assert not [element for element in root.iter() if "img" in element.tag or "onerror" in element.attrib]
    assert "none" in texts(root)


def test_charts_have_no_colour_of_their_own(summary: Summary, kinds: Summary) -> None:
    looks = charts.styles(summary.plan.architectures)
    for figure in [
        *figures.by_level(summary, looks),
        *figures.by_level(kinds, charts.styles(kinds.plan.architectures)),
        *(figure for of in samples.samples(kinds) for figure in of.maps),
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


# ---------------------------------------------------------------- every, stream, sequence


def texts(root: ET.Element) -> list[str]:
    """What a picture has in letters."""
    return [element.text or "" for element in root.iter(svg.tag("text"))]


def test_validation_scores_are_named_by_what_was_watched(kinds: Summary, kinds_page: str) -> None:
    looks = charts.styles(kinds.plan.architectures)
    found = {figure.title: figure for figure in figures.curves(kinds, looks)}
    for task in kinds.tasks:
        name, sign = task.spec.watched[0], {"max": "↑", "min": "↓"}[task.spec.watched[1]]
        assert f"validation {name} {sign}" in texts(ET.fromstring(found[task.id].svg))
        assert ("are chosen by this score" in found[task.id].caption) == (name != task.spec.metric)
        assert table(kinds_page, f"Learning rates tried, by validation {name} {sign} of each tuning seed; ▲ chosen")
        cell = kinds.cell(task.id, "gru")
        head, *rows = table(kinds_page, f"Runs of gru on {task.id}, with learning rate 0.001")
        place = head.index(f"{name} {sign}, validation")
        assert [row[place] for row in rows] == [number(run.valid[name]) for run in cell.runs]
    assert (
        "cross_entropy ↓, validation" in table(kinds_page, "Runs of gru on multi30k-none, with learning rate 0.001")[0]
    )
    at_200 = found["multi30k-none"].rows[1]
    seen = [run.curve[1].valid or 0 for run in kinds.cell("multi30k-none", "gru").runs]
    assert at_200[0] == "200" and at_200[1 + list(looks).index("gru")] == number(sum(seen) / len(seen))


def test_all_test_metrics_of_cells_and_controls_are_there(kinds: Summary, kinds_page: str) -> None:
    for task in kinds.tasks:
        section = kinds_page.split(f'<h3 id="task-{task.id}"')[1].split("<h3")[0]
        head, *rows = table(section, "All metrics on test, with 95 % intervals")
        by_name = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}
        ranking = f"{task.spec.metric} {'↑' if task.spec.direction == 'max' else '↓'}"
        assert head[1] == ranking
        for arch in kinds.plan.architectures:
            cell = kinds.cell(task.id, arch)
            assert by_name[arch][ranking] == f"{number(cell.mean or 0)}{span(cell.interval)}"
            done = [run.test for run in cell.runs if run.status == "ok"]
            assert set(done[0]) == {task.spec.metric, *head[2:]}
            for name in head[2:]:
                values = [test[name] for test in done]
                assert by_name[arch][name].split(" ")[0] == number(sum(values) / len(values))
                assert by_name[arch][name].endswith(" 2/3") == (arch == "rnn")
        for control in task.controls:
            shown = by_name[control.name]
            assert shown == dict.fromkeys(head[1:], "–") | {ranking: number(control.metrics[task.spec.metric])}
    assert "nrefs:1|case:mixed|tok:13a|version:2.6.0" in kinds_page


def test_controls_show_the_other_metrics_that_they_have(kinds: Summary) -> None:
    first, *others = kinds.tasks
    control = first.trivial.model_copy(update={"metrics": first.trivial.metrics | {"perplexity": 12.3456}})
    task = first.model_copy(update={"controls": (control,)})
    page = report.render(kinds.model_copy(update={"tasks": (task, *others)}))
    head, *rows = table(
        page.split(f'<h3 id="task-{task.id}"')[1].split("<h3")[0], "All metrics on test, with 95 % intervals"
    )
    assert rows[-1][head.index("perplexity")] == "12.3" and rows[-1][head.index("cross_entropy")] == "–"


def test_samples_are_those_of_each_first_finished_seed(kinds: Summary, kinds_page: str) -> None:
    expected = []
    for task in kinds.tasks:
        runs = [kinds.cell(task.id, arch).runs for arch in kinds.plan.architectures]
        said = [next(run for run in cell if run.status == "ok").samples for cell in runs]
        for one in zip(*said, strict=True):
            texts = [one[0].reference, *(sample.output or "(nothing)" for sample in one)]
            source = [one[0].source] if one[0].source else []  # a recording cannot be shown
            expected += source + texts
    found = Elements(kinds_page).said
    assert found == [text.replace("\x0b", "␋") for text in expected]
    assert sum("\n  JULIET:\n" in text and "\n\tEnter" in text for text in found) == 8  # line ends, blanks and tabs
    assert [text.split("\n")[-2] for text in found if "Enter" in text][:2] == ["rnn 2", "lstm 1"]


def test_samples_that_are_alike_stay_apart(kinds: Summary) -> None:
    cells = []
    for cell in kinds.cells:
        runs = [
            run.model_copy(update={"samples": (run.samples[0], run.samples[0].model_copy(update={"output": "two"}))})
            if run.samples and cell.task == "fsdd_strings"
            else run
            for run in cell.evidence.results
        ]
        evidence = cell.evidence.model_copy(update={"results": tuple(runs)})
        cells.append(cell.model_copy(update={"evidence": evidence}))
    (of,) = (
        of for of in samples.samples(kinds.model_copy(update={"cells": tuple(cells)})) if of.task.id == "fsdd_strings"
    )
    assert [len(source.said) for source in of.sources] == [4, 4]
    assert {said.output for said in of.sources[1].said} == {"two"} != {said.output for said in of.sources[0].said}


def test_music_is_to_be_seen_and_heard(kinds: Summary) -> None:
    (of,) = (of for of in samples.samples(kinds) if of.task.id == "jsb")
    (source,) = of.sources
    assert of.task.seconds > 0
    assert (source.source, source.reference) == ("C4 E4 | C4 E4 | -", "G4 | G4")
    for one, steps in ((source, 5), *((said, 6) for said in source.said)):
        address, _, content = one.sound.partition(",")
        assert address == "data:audio/mpeg;base64"
        wave, rate = soundfile.read(io.BytesIO(base64.b64decode(content)))
        assert len(wave) / rate == pytest.approx(steps * of.task.seconds, abs=0.2)
        assert one.roll is not None
    assert 'aria-label="Piano roll, how the piece goes on: 5 steps, 3 notes from C4 to G4"' in str(source.roll)
    assert 'aria-label="Piano roll, gru: 6 steps, 5 notes from C4 to E5"' in str(source.said[2].roll)


def test_a_bar_of_a_piano_roll_is_a_note() -> None:
    picture = str(rolls.picture([[60], [60]], [[60, 64], []], "A piece"))
    # Two steps of C4 before the border, one more after it, and E4 four semitones above; each 8 wide and 4 high.
    assert 'd="M0,20h15v4h-15z"' in picture and "M16,0v28" in picture
    assert "M16,20h7v4h-7z" in picture and "M16,4h7v4h-7z" in picture
    assert "4 steps of silence" in str(rolls.picture([[], []], [[], []], "Nothing"))


def test_attention_is_drawn_and_listed_as_recorded(kinds: Summary) -> None:
    by_task = {of.task.id: of for of in samples.samples(kinds)}
    assert [figure.title for figure in by_task["multi30k-attention"].maps] == list(ARCHS[:4])
    assert not any(of.maps for task, of in by_task.items() if task != "multi30k-attention")
    sample = kinds.cell("multi30k-attention", "gru").runs[0].samples[0]
    figure = by_task["multi30k-attention"].maps[2]
    assert figure.head[1:] == list(sample.source_tokens)
    assert [row[0] for row in figure.rows] == list(sample.output_tokens)
    assert [[float(weight) for weight in row[1:]] for row in figure.rows] == [list(row) for row in sample.attention]
    groups = [g for g in ET.fromstring(figure.svg) if g.find(svg.tag("title")) is not None]
    assert groups[0].findtext(svg.tag("title")) == "▁A: ▁Ein 0.70, ▁Mann 0.10, ▁schläft 0.10"
    for group, seen in zip(groups, sample.attention, strict=True):
        drawn = {}
        for path in group.iter(svg.tag("path")):
            for x in re.findall(r"M(\d+),", path.attrib["d"]):
                drawn[int(x)] = float(path.attrib["fill-opacity"])
        assert [drawn[x] for x in sorted(drawn)] == list(seen)


def test_a_map_that_is_too_large_is_named_and_left_out(kinds: Summary) -> None:
    cell = kinds.cell("multi30k-attention", "gru")
    wide, tall = ("x",) * 60, ("y",) * 30
    sample = (
        cell.runs[0]
        .samples[0]
        .model_copy(update={"source_tokens": wide, "output_tokens": tall, "attention": ((1 / 60,) * 60,) * 30})
    )
    runs = (cell.runs[0].model_copy(update={"samples": (sample,)}), *cell.runs[1:])
    changed = cell.model_copy(update={"evidence": cell.evidence.model_copy(update={"results": runs})})
    cells = tuple(changed if one is cell else one for one in kinds.cells)
    by_task = {of.task.id: of for of in samples.samples(kinds.model_copy(update={"cells": cells}))}
    found = by_task["multi30k-attention"]
    assert found.large == ["gru"] and [figure.title for figure in found.maps] == ["rnn", "lstm", "transformer"]


def test_levels_that_are_no_numbers_are_side_by_side(kinds: Summary) -> None:
    by_title = {figure.title: figure for figure in figures.by_level(kinds, charts.styles(kinds.plan.architectures))}
    figure = by_title["Multi30k, German to English"]
    assert [row[0] for row in figure.rows] == ["none", "attention"] and figure.head[0] == "connection"
    cell = kinds.cell("multi30k-attention", "lstm")
    assert figure.rows[1][2] == f"{number(cell.mean or 0)}{span(cell.interval)}"
    root = ET.fromstring(figure.svg)
    assert {"none", "attention", "bleu ↑ on test"} <= set(texts(root))
    tips = [element.text or "" for element in root.iter(svg.tag("title"))]
    assert len(tips) == 8 and sum("connection none" in tip for tip in tips) == 4
    assert by_title["Associative recall"].head[0] == "pairs" and len(by_title) == 2


def test_a_score_over_decades_has_a_log_axis(kinds: Summary) -> None:
    looks = charts.styles(kinds.plan.architectures)
    cells = []
    for cell in kinds.cells:
        runs = [
            run.model_copy(update={"curve": tuple(p.model_copy(update={"valid": 1e6 / p.step**2}) for p in run.curve)})
            for run in cell.runs
        ]
        wide = [
            run.model_copy(update={"curve": (run.curve[0].model_copy(update={"valid": 9e3}), *run.curve)})
            for run in runs
        ]
        cells.append(cell.model_copy(update={"evidence": cell.evidence.model_copy(update={"results": tuple(wide)})}))
    figure = figures.curves(kinds.model_copy(update={"cells": tuple(cells)}), looks)[3]
    assert figure.caption.endswith("Log scale.") and {"100", "1k"} <= set(texts(ET.fromstring(figure.svg)))


def test_settings_of_the_task_and_their_differences_are_stated(kinds_page: str) -> None:
    def section(task: str) -> str:
        return " ".join(kinds_page.split(f'<h3 id="task-{task}"')[1].split("<h3")[0].split())

    translation, language = section("multi30k-attention"), section("ptb")
    for words in (
        "<dt>Ranked by</dt><dd>bleu ↑ on test</dd>",
        "<dt>Epochs and rates chosen by</dt><dd>cross_entropy ↓ on validation</dd>",
        "<dt>Direction</dt><dd>both ways</dd>",
        "<dt>The decoder sees</dt><dd>all states, by attention</dd>",
        "<dt>Dropout around the core</dt><dd>0.3</dd>",
        "tied",
        "in every layer of the decoder: transformer.",
        "encoder&#39;s final state: rnn, lstm and gru.",
    ):
        assert words in translation, words
    assert "Not the same for every architecture" not in section("multi30k-none")
    for words in (
        "windows of 35 steps",
        "State carried from window to window: rnn, lstm and gru.",
        "Every window begun anew: transformer. In training at most 35 steps are seen",
        "17 to 35 steps stand behind each label",
        '<th scope="col">Labels seen</th>',
        "<td>19,200</td>",
    ):
        assert words in language, words
    limits = kinds_page.split('<h2 id="limits">')[1]
    assert "On shakespeare and ptb some architectures carry their state" in limits
    assert "On multi30k-attention attention to the source" in limits
    assert "On multi30k-none and multi30k-attention epochs and learning rates were chosen by cross_entropy" in limits


@pytest.mark.parametrize("name", ["carry", "MEMORY"])
def test_what_a_core_can_is_read_as_python_reads_it(name: str) -> None:
    for arch in archs.names():
        assert cores.has(arch, name) == bool(getattr(archs.find(arch), name, False)), arch


def test_what_a_core_inherits_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archs, "FOLDER", tmp_path)
    (tmp_path / "_base.py").write_text(
        "class Low:\n    def carry(self): ...\n    MEMORY = True\nclass Base(Low): ...\n"
    )
    (tmp_path / "mine.py").write_text(
        "from seqbench.archs._base import Base as B\nclass Core(B):\n    MEMORY = False\n"
    )
    (tmp_path / "other.py").write_text("from torch.nn import Core\nclass Core(Core): ...\n")
    assert cores.has("mine", "carry") and not cores.has("mine", "MEMORY")
    assert not cores.has("other", "carry")
