"""Trained models on new input: which run answers, that it answers as its model does, and what is refused."""

from __future__ import annotations

import io
import itertools
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import SMALL, Raw, write

from seqbench import apply, archs, checkpoint, cli, decode, model, tasks, train
from seqbench.cli import models
from seqbench.prepared import Prepared
from seqbench.records import UNSCORED, Result, Runs, Setting, TrainSettings, TuneSettings
from seqbench.tasks import _translation

CPU = torch.device("cpu")
CELLS = {
    "sst2": ("sst2", {}, "gru"),
    "shakespeare": ("shakespeare", {}, "gru"),
    "ptb": ("ptb", {}, "transformer"),
    "multi30k-attention": ("multi30k", {"connection": "attention"}, "transformer"),
    "multi30k-none": ("multi30k", {"connection": "none"}, "gru"),
    "adding-21": ("adding", {}, "rnn"),
    "smnist": ("smnist", {"pool": 4}, "rnn"),
}
COMMAND = {"sst2": "classify", "shakespeare": "generate", "multi30k-attention": "translate"}
SENTENCES = ["Ein Mann läuft im Park.", "Zwei Mädchen schlafen.", "Ein Hund", "Eine Frau singt auf der Straße."]
REVIEWS = ["a good film", "dull", "great , great fun but a bore of a film", "nobody knows these words"]
Said = tuple[str, str]
Say = Callable[..., Said]


def cell(root: Path, raw: Raw, task_id: str) -> Setting:
    """A tiny cell, its data prepared under `root`."""
    name, changes, arch = CELLS[task_id]
    data = write(name, SMALL[name] | changes, raw, root / "made")
    (root / "prepared").mkdir(exist_ok=True)
    data.folder.rename(root / "prepared" / task_id)
    return Setting(
        task=name,
        task_settings=data.manifest.settings,
        arch=arch,
        core=archs.defaults(arch),
        parameters=30_000,
        train=TrainSettings(batch=4, steps=8, eval_every=4, patience=0, schedule="constant"),
        tune=TuneSettings(),
    )


@pytest.fixture(scope="module")
def trained(raw: Raw, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trained seeds of each cell; no test may change them."""
    root = tmp_path_factory.mktemp("trained")
    for task_id in CELLS:
        seeds = (1, 2, 3) if task_id in COMMAND else (1,)
        train.train_cell(cell(root, raw, task_id), 0.01, seeds, root, CPU, lambda _: None)
    return root


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "data"))


@pytest.fixture(autouse=True)
def on_the_cpu(in_the_repository: None, one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQBENCH_DEVICE", "cpu")


@pytest.fixture
def say(trained: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command that must succeed: what it says, and its log."""

    def run(*words: str, root: Path = trained) -> Said:
        capsys.readouterr()
        code = cli.main([*words, "--root", str(root)])
        out, log = capsys.readouterr()
        assert code == 0, log
        return out, log

    return run


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes, terminal: bool = False) -> None:
    class Stream(io.TextIOWrapper):
        def isatty(self) -> bool:
            return terminal

    monkeypatch.setattr(sys, "stdin", Stream(io.BytesIO(content)))


def arch_of(task_id: str) -> str:
    return CELLS[task_id][2]


def results(root: Path, task_id: str) -> list[Result]:
    return list(Runs.read(root / "runs" / task_id / arch_of(task_id) / "results.json", "").results)


def model_of(root: Path, task_id: str, seed: int) -> tuple[Any, tasks.Base, Prepared]:
    """A run's model, put together by hand."""
    result = next(one for one in results(root, task_id) if one.seed == seed)
    data = Prepared(root / "prepared" / task_id)
    net = model.build(data.spec, result.arch, result.setting.core, result.width, 99)
    (path,) = root.glob(f"runs/{task_id}/{result.arch}/seed-{seed}/*/model.safetensors")
    net.load_state_dict(checkpoint.read_weights(path, result.weights_sha256, ""))
    return net.eval(), tasks.build(result.setting.task, result.setting.task_settings), data


def loaded(root: Path, task_id: str) -> apply.Trained:
    data = Prepared(root / "prepared" / task_id)
    command = apply.COMMANDS[data.spec.outputs]
    return apply.load(apply.find(root, task_id, arch_of(task_id), 1, command), CPU)


# ---------------------------------------------------------------- classify


@torch.no_grad()
def chances_alone(root: Path, seed: int, text: str) -> list[float]:
    net, task, data = model_of(root, "sst2", seed)
    tokens = torch.from_numpy(task.encode(text, data))
    return torch.softmax(net(tokens[None]), dim=1)[0].tolist()


def test_classes_are_those_of_a_forward_pass_in_order(trained: Path, say: Say) -> None:
    out, _ = say("classify", "sst2", "gru", "--seed", "2", *REVIEWS)
    rows = [line.split("\t") for line in out.splitlines()]
    assert [text for _, _, text in rows] == REVIEWS
    for label, chance, text in rows:
        expected = chances_alone(trained, 2, text)
        assert label == ("negative", "positive")[int(np.argmax(expected))]
        assert float(chance) == pytest.approx(max(expected), abs=6e-5)
    assert len({chance for _, chance, _ in rows}) == len(REVIEWS)


def test_json_has_all_probabilities(trained: Path, say: Say) -> None:
    out, _ = say("classify", "sst2", "gru", "--json", "--seed", "1", *REVIEWS, "crème\tbrûlée")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["text"] for row in rows] == [*REVIEWS, "crème\tbrûlée"]
    for row in rows:
        expected = chances_alone(trained, 1, row["text"])
        assert row["probabilities"] == pytest.approx(dict(zip(("negative", "positive"), expected, strict=True)))
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)


def test_a_text_among_others_is_the_text_alone(trained: Path) -> None:
    one = loaded(trained, "sst2")
    alone = np.concatenate([one.classify([text]) for text in REVIEWS])
    np.testing.assert_allclose(one.classify(REVIEWS), alone, rtol=1e-5)
    np.testing.assert_allclose(alone.sum(axis=1), 1)


def test_lines_of_standard_input_are_texts(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{first} {second} film" for first in ("a", "good", "bad", "dull") for second in ("x", "fun", "of")] * 6
    assert len(texts) > 2 * models.SIDE_BY_SIDE
    expected, _ = say("classify", "sst2", "gru", *texts)
    for end in ("\n", "\r\n"):
        pipe(monkeypatch, end.join(texts).encode())
        assert say("classify", "sst2", "gru")[0] == expected


def test_each_line_is_answered_when_it_comes(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []

    class Slow(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            said.append(capsys.readouterr().out)
            return next(parts, b"")

    parts = iter([b"go", b"od\nbad\ndu", b"ll\n", b"fun"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Slow()))
    assert cli.main(["classify", "sst2", "gru", "--root", str(trained)]) == 0
    said.append(capsys.readouterr().out)
    assert [[line.split("\t")[2] for line in out.splitlines()] for out in said] == [
        [],
        [],
        ["good", "bad"],
        ["dull"],
        [],
        ["fun"],
    ]


def test_a_shown_text_is_one_short_line(say: Say) -> None:
    out, _ = say("classify", "sst2", "gru", "a\tgood\nfilm " + "x" * 100)
    assert out.count("\n") == 1
    assert out.rstrip("\n").split("\t")[2] == "a good film " + "x" * 48


@pytest.mark.parametrize(
    "words",
    [
        ["--seed", "1", "one", "two", "--json", "-not good"],
        ["one", "--seed", "1", "two", "--json", "--", "-not good"],
        ["--json", "one", "two", "-not good", "--seed", "1"],
    ],
)
def test_options_may_stand_between_texts(words: list[str]) -> None:
    args = cli.parser().parse_args(["classify", "sst2", "gru", *words])
    assert (args.task, args.arch, args.texts, args.seed, args.json) == (
        "sst2",
        "gru",
        ["one", "two", "-not good"],
        1,
        True,
    )


# ---------------------------------------------------------------- generate


@torch.no_grad()
def naive(root: Path, task_id: str, prompt: str, length: int) -> str:
    """The likeliest token, from a whole forward pass for each; in windows where the core carries no state."""
    net, task, data = model_of(root, task_id, 1)
    tokens = task.encode(prompt, data).tolist()
    window = None if hasattr(net.core, "carry") else data.spec.length
    context = list(tokens)
    for _ in range(length):
        tokens.append(int(net(torch.tensor([context]))[0, -1].argmax()))
        keep = data.spec.length // 2 if len(context) == window else len(tokens)
        context = [*context, tokens[-1]][-keep:]
    return task.decode(np.array(tokens), data)


@pytest.mark.parametrize(("task_id", "prompt"), [("shakespeare", "the king is\n"), ("ptb", "the king is")])
def test_at_temperature_zero_the_likeliest_tokens_follow(trained: Path, say: Say, task_id: str, prompt: str) -> None:
    words = ["generate", task_id, arch_of(task_id), "--seed", "1", "--prompt", prompt, "--length", "30"]
    expected = naive(trained, task_id, prompt, 30)
    assert expected.startswith(prompt)
    for seed in ("1", "2"):
        assert say(*words, "--temperature", "0", "--sample-seed", seed)[0] == expected + "\n"
    assert say(*words, "--top-k", "1")[0] == expected + "\n"


def test_the_sample_seed_decides(say: Say) -> None:
    def text(*words: str) -> str:
        return say("generate", "shakespeare", "gru", "--prompt", "said", "--length", "40", *words)[0]

    first = text()
    assert len(first) == len("said") + 40 + 1
    assert text("--sample-seed", "1") == first
    others = {text("--sample-seed", str(seed)) for seed in (2, 3)}
    assert len(others | {first}) == 3


def test_top_k_and_temperature_narrow_the_choice(trained: Path) -> None:
    one = loaded(trained, "shakespeare")

    def characters(temperature: float, top_k: int) -> int:
        return len(set("".join(one.generate("t", 100, temperature, top_k, 1))))

    assert characters(1.0, 3) < characters(1.0, 0)
    assert characters(0.02, 0) < characters(1.0, 0)


def test_text_comes_while_it_is_written(trained: Path) -> None:
    pieces = loaded(trained, "shakespeare").generate("the king", 10**9, 1.0, 0, 1)
    first, *rest = itertools.islice(pieces, 6)
    assert first == "the king" and [len(piece) for piece in rest] == [1] * 5


@pytest.mark.parametrize("text", ["plain", "é", "naïve – 🎻 5 €", "né"])
def test_bytes_of_a_character_are_written_together(text: str) -> None:
    def text_of(tokens: list[int]) -> str:
        return bytes(tokens).decode(errors="replace")

    tokens = list(text.encode())
    pieces = list(apply.spelled([], iter(tokens), text_of))
    assert "".join(pieces) == text and all("\ufffd" not in piece for piece in pieces)
    assert len(pieces) == len(text) + 1
    cut = tokens[:-1] if len(text) < len(tokens) else tokens
    assert (
        "".join(apply.spelled(tokens[:1], iter(cut[1:]), text_of))
        == text_of(tokens[:1]) + text_of(cut)[len(text_of(tokens[:1])) :]
    )


@pytest.mark.parametrize("known", [1, 4])
def test_blanks_between_words_are_where_they_belong(trained: Path, known: int) -> None:
    data = Prepared(trained / "prepared" / "multi30k-none")
    tokeniser = _translation.tokeniser(data)
    ptb, words = tasks.build("ptb", {}), Prepared(trained / "prepared" / "ptb")
    cases: list[tuple[list[int], Callable[[list[int]], str]]] = [
        (tokeniser.encode("Ein Mann läuft im Park. A dog."), tokeniser.decode),
        (ptb.encode("the king is\ndead\n\nsaid\nthe king", words).tolist(), lambda t: ptb.decode(np.array(t), words)),
    ]
    for tokens, text_of in cases:
        pieces = list(apply.spelled(tokens[:known], iter(tokens[known:]), text_of))
        assert "".join(pieces) == text_of(tokens)
        assert len(pieces) > len(tokens) / 2


def test_a_reader_that_has_enough_is_no_error(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", "shakespeare", "gru", "--prompt", "the", "--length", "1000000000", "--root", str(trained)]
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert cli.main(words) == 141
    assert capsys.readouterr().err.count("\n") == 1


# ---------------------------------------------------------------- translate


def alone(root: Path, task_id: str, text: str, beam: int | None) -> tuple[list[int], str]:
    """Tokens and text of one sentence, by seed 1."""
    net, task, data = model_of(root, task_id, 1)
    x = torch.from_numpy(task.encode(text, data))[None]
    lengths = torch.tensor([x.shape[1]])
    tokens = decode.greedy(net, x, lengths) if beam is None else decode.beam(net, x, lengths, beam)
    written = tokens[0][tokens[0] != UNSCORED]
    return written.tolist(), task.decode(written.numpy(), data)


@pytest.mark.parametrize("task_id", ["multi30k-attention", "multi30k-none"])
@pytest.mark.parametrize("beam", [None, 1, 3, 5])
def test_each_sentence_has_its_line(
    trained: Path, say: Say, monkeypatch: pytest.MonkeyPatch, task_id: str, beam: int | None
) -> None:
    way = ["--greedy"] if beam is None else [] if beam == 5 else ["--beam", str(beam)]
    words = ["translate", task_id, arch_of(task_id), "--seed", "1", *way]
    expected = "".join(f"{alone(trained, task_id, text, beam)[1]}\n" for text in SENTENCES)
    assert say(*words, *SENTENCES)[0] == expected
    pipe(monkeypatch, "\n".join(SENTENCES).encode())
    assert say(*words)[0] == expected


@torch.no_grad()
def test_attention_is_the_source_piece_looked_at_most(trained: Path, say: Say) -> None:
    net, task, data = model_of(trained, "multi30k-attention", 1)
    out, _ = say("translate", "multi30k-attention", "transformer", "--seed", "1", "--attention", *SENTENCES)
    lines = iter(out.splitlines())
    for text in SENTENCES:
        tokens, translation = alone(trained, "multi30k-attention", text, 5)
        assert next(lines) == translation
        source = torch.from_numpy(task.encode(text, data))[None]
        seen = net.attention(torch.tensor([tokens]), net.encode(source, torch.tensor([source.shape[1]])))
        assert seen.shape == (len(tokens), source.shape[1])
        read = task.pieces(source[0].numpy(), data)
        for piece, shares in zip(task.pieces(np.array(tokens), data), seen, strict=True):
            assert next(lines).split() == [piece, f"{float(shares.max()):.2f}", read[int(shares.argmax())]]
    assert next(lines, None) is None


def test_without_attention_that_is_said(say: Say) -> None:
    out, _ = say("translate", "multi30k-none", "gru", "--attention", *SENTENCES[:2])
    assert [line for line in out.splitlines() if line.startswith("  ")] == ["  (the model has no attention)"] * 2
    assert "attention" not in say("translate", "multi30k-none", "gru", *SENTENCES[:2])[0]


# ---------------------------------------------------------------- which run answers


def answers(say: Say, root: Path, task_id: str, *words: str) -> Said:
    """What the run that is chosen says, whatever the kind of the task; and the log."""
    inputs = {"classify": ["--json", *REVIEWS], "translate": SENTENCES, "generate": ["--prompt", "the king"]}
    command = COMMAND[task_id]
    return say(command, task_id, arch_of(task_id), *words, *inputs[command], root=root)


def plant(root: Path, task_id: str, changes: dict[int, dict[str, Any]], whole: bool = True) -> None:
    """Change the results of seeds, in `results.json`, or in the files of single seeds with no `results.json`."""
    folder = root / "runs" / task_id / arch_of(task_id)
    changed = [one.model_copy(update=changes.get(one.seed, {})) for one in results(root, task_id)]
    if whole:
        Runs(task=task_id, arch=arch_of(task_id), results=tuple(changed)).write(folder / "results.json")
        return
    (folder / "results.json").unlink()
    for one in changed:
        one.write(train.run_folder(root, task_id, one.arch, one.seed, one.key) / "result.json")


def scores(task_id: str, valid: float, test: float) -> dict[str, Any]:
    """Scores in which higher `valid` and `test` are better, as the task has them."""
    name, sign = {"sst2": ("accuracy", 1), "shakespeare": ("bits_per_character", -1)}.get(
        task_id, ("cross_entropy", -1)
    )
    return {"valid": {name: sign * valid, "bleu": -valid}, "test": {name: sign * test, "bleu": test}}


@pytest.mark.parametrize("task_id", COMMAND)
@pytest.mark.parametrize("whole", [True, False])
def test_the_best_seed_on_validation_answers(root: Path, say: Say, task_id: str, whole: bool) -> None:
    each = {seed: answers(say, root, task_id, "--seed", str(seed))[0] for seed in (1, 2, 3)}
    assert len(set(each.values())) == 3
    ranks = {1: scores(task_id, 2, 9), 2: scores(task_id, 4, 1), 3: scores(task_id, 3, 8)}
    plant(root, task_id, ranks, whole)
    out, log = answers(say, root, task_id)
    assert out == each[2]
    assert "seed 2, the best of 3 (" in log and "on validation), on cpu" in log
    out, log = answers(say, root, task_id, "--seed", "3")
    assert out == each[3] and "seed 3 (" in log


@pytest.mark.parametrize("whole", [True, False])
def test_failed_seeds_and_those_of_other_data_do_not_answer(root: Path, say: Say, whole: bool) -> None:
    second = answers(say, root, "sst2", "--seed", "2")[0]
    failed = {"status": "diverged", "valid": {}, "test": {}, "weights_sha256": ""}
    other = {"data_digest": "0" * 64, **scores("sst2", 9, 9)}
    plant(root, "sst2", {1: failed, 2: scores("sst2", 1, 1), 3: other}, whole)
    out, log = answers(say, root, "sst2")
    assert out == second and "seed 2, the best of 1 (" in log


def test_a_damaged_record_of_a_single_seed_counts_as_none(root: Path, say: Say) -> None:
    second = answers(say, root, "sst2", "--seed", "2")[0]
    plant(root, "sst2", {1: scores("sst2", 9, 9), 2: scores("sst2", 3, 3), 3: scores("sst2", 2, 2)}, whole=False)
    (path,) = root.glob("runs/sst2/gru/seed-1/*/result.json")
    path.write_text("{")
    assert answers(say, root, "sst2")[0] == second


def test_a_seed_by_hand_beside_a_whole_cell_answers_when_named(root: Path, say: Say) -> None:
    third = answers(say, root, "sst2", "--seed", "3")[0]
    folder = root / "runs" / "sst2" / "gru"
    some = tuple(one for one in results(root, "sst2") if one.seed != 3)
    Runs(task="sst2", arch="gru", results=some).write(folder / "results.json")
    assert answers(say, root, "sst2", "--seed", "3")[0] == third
    assert "the best of 2 (" in answers(say, root, "sst2")[1]


def test_a_task_stands_for_its_only_trained_task_id(root: Path, say: Say) -> None:
    expected, _ = say("translate", "multi30k-none", "gru", *SENTENCES)
    assert say("translate", "multi30k", "gru", *SENTENCES)[0] == expected


def test_answers_leave_everything_as_it_was(root: Path, say: Say) -> None:
    def state() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    before = state()
    for task_id in COMMAND:
        answers(say, root, task_id)
    assert state() == before


# ---------------------------------------------------------------- what is refused


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Runs a command that must fail: its code and three lines."""

    def run(root: Path, *words: str) -> tuple[int, list[str]]:
        capsys.readouterr()
        code = cli.main([*words, "--root", str(root)])
        out, log = capsys.readouterr()
        lines = log.strip().splitlines()[-3:]
        assert [line.split(":")[0] for line in lines] == ["error", "where", "fix"]
        assert not out
        return code, lines

    return run


CLASSIFY, GENERATE = ["classify", "sst2", "gru"], ["generate", "shakespeare", "gru", "--prompt"]
TRANSLATE = ["translate", "multi30k-none", "gru"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["classify", "sst2", "lstm", "x"], 3, "fix:   train it: seqbench train sst2 lstm"),
        (["classify", "imdb", "gru", "x"], 3, "fix:   train it: seqbench train imdb gru"),
        ([*CLASSIFY, "--seed", "9", "x"], 3, "fix:   train it: seqbench train sst2 gru --seed 9"),
        (["translate", "multi30k-additive", "gru", "x"], 3, "seqbench train multi30k-additive gru"),
        (["classify", "sst", "gru", "x"], 2, "did you mean 'sst2'"),
        (["classify", "sst2", "gro", "x"], 2, "did you mean 'gru'"),
        (["generate", "sst2", "gru", "--prompt", "x"], 2, "fix:   use seqbench classify sst2 gru"),
        (["translate", "shakespeare", "gru", "x"], 2, "fix:   use seqbench generate shakespeare gru"),
        (["classify", "multi30k", "gru", "x"], 2, "fix:   use seqbench translate multi30k-none gru"),
        (["classify", "adding", "rnn", "x"], 2, "fix:   use seqbench forecast adding-21 rnn"),
        (["forecast", "adding", "rnn", "x.csv"], 2, "this task reads nothing new"),
        (["classify", "smnist", "rnn", "x"], 2, "this task reads nothing new"),
        ([*CLASSIFY, "good", " \t"], 2, "where: text 2"),
        ([*TRANSLATE, ""], 2, "where: text 1"),
        ([*TRANSLATE, "Ein Hund " * 50], 2, "one sentence at a time"),
        ([*TRANSLATE, "Ein Hund " * 50], 2, "'Ein Hund Ein Hund"),
        ([*GENERATE, ""], 2, "the prompt is empty"),
        ([*GENERATE, "the Käse"], 2, "'K' is not in the vocabulary"),
        ([*GENERATE, "the", "--temperature", "-0.1"], 2, "where: temperature = -0.1"),
        ([*GENERATE, "the", "--temperature", "nan"], 2, "where: temperature = nan"),
        ([*GENERATE, "the", "--top-k", "-1"], 2, "where: top_k = -1"),
        ([*GENERATE, "the", "--length", "0"], 2, "where: length = 0"),
        ([*TRANSLATE, "--beam", "0", "Ein Hund"], 2, "where: beam = 0"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_errors_are_three_lines(
    trained: Path, refused: Callable[..., tuple[int, list[str]]], words: list[str], code: int, says: str
) -> None:
    found, lines = refused(trained, *words)
    assert found == code
    assert says in "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"good\n\ndull\n", "where: standard input, line 2"),
        (b"good\nfilm \xff\n", "where: standard input, line 2, byte 6"),
        (b"", "where: standard input is empty"),
        (b"   ", "where: standard input, line 1"),
    ],
)
@pytest.mark.parametrize("words", [CLASSIFY, TRANSLATE], ids=["classify", "translate"])
def test_standard_input_that_is_no_text(
    trained: Path,
    refused: Callable[..., tuple[int, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    says: str,
    words: list[str],
) -> None:
    pipe(monkeypatch, content)
    code, lines = refused(trained, *words)
    assert code == 2 and lines[1] == says


def test_a_terminal_is_not_waited_for(
    trained: Path, refused: Callable[..., tuple[int, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe(monkeypatch, b"good\n", terminal=True)
    for words in (CLASSIFY, TRANSLATE):
        code, lines = refused(trained, *words)
        assert code == 2 and lines[1] == "where: standard input is a terminal"
        assert " ".join(words) in lines[2]


def test_several_task_ids_are_not_guessed(root: Path, refused: Callable[..., tuple[int, list[str]]]) -> None:
    (root / "runs" / "multi30k-additive" / "gru").mkdir(parents=True)
    code, lines = refused(root, "translate", "multi30k", "gru", "Ein Hund")
    assert code == 2 and lines[2] == "fix:   name one: multi30k-additive, multi30k-none"


def test_a_run_that_failed_is_said(root: Path, refused: Callable[..., tuple[int, list[str]]]) -> None:
    failed = {"status": "diverged", "reason": "loss not finite", "valid": {}, "test": {}, "weights_sha256": ""}
    plant(root, "sst2", {1: failed})
    code, lines = refused(root, *CLASSIFY, "--seed", "1", "x")
    assert code == 2 and lines[0] == "error: the run of seed 1 failed: diverged (loss not finite)"
    assert "seqbench train sst2 gru --seed N" in lines[2]
    plant(root, "sst2", dict.fromkeys((1, 2, 3), failed))
    assert refused(root, *CLASSIFY, "x")[1][0] == lines[0]


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damaged_weights_do_not_answer(root: Path, refused: Callable[..., tuple[int, list[str]]], damage: str) -> None:
    (path,) = root.glob("runs/sst2/gru/seed-2/*/model.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flip" else content[:-8])
    code, lines = refused(root, *CLASSIFY, "--seed", "2", "x")
    assert code == 3 and lines[1] == f"where: {path}"
    assert lines[2] == "fix:   train it again: seqbench train sst2 gru --seed 2"


def test_weights_of_another_model_do_not_answer(root: Path, refused: Callable[..., tuple[int, list[str]]]) -> None:
    plant(root, "sst2", {1: {"width": results(root, "sst2")[0].width + 2}})
    code, lines = refused(root, *CLASSIFY, "--seed", "1", "x")
    assert code == 3 and "do not fit" in lines[0] and lines[2].endswith("seqbench train sst2 gru --seed 1")


def test_a_damaged_record_is_said(root: Path, refused: Callable[..., tuple[int, list[str]]]) -> None:
    (root / "runs" / "sst2" / "gru" / "results.json").write_text("{")
    code, lines = refused(root, *CLASSIFY, "x")
    assert code == 3 and lines[2] == "fix:   train the cell again: seqbench train sst2 gru"


def test_other_data_than_in_training_do_not_answer(
    root: Path, raw: Raw, refused: Callable[..., tuple[int, list[str]]], say: Say
) -> None:
    before = answers(say, root, "sst2")[0]
    folder = root / "prepared" / "sst2"
    shutil.rmtree(folder)
    code, lines = refused(root, *CLASSIFY, "x")
    assert code == 3 and lines[2] == "fix:   prepare it again: seqbench prepare sst2"
    write("sst2", SMALL["sst2"] | {"length": 2}, raw, root / "prepared")
    code, lines = refused(root, *CLASSIFY, "x")
    assert code == 3 and "not those that the run was trained on" in lines[0]
    words = lines[2].split("prepare them again: seqbench ")[1].split("; or train")[0]
    args = cli.parser().parse_args(shlex.split(words))
    shutil.rmtree(folder)
    write(args.task, json.loads(args.setting), raw, root / "prepared")
    assert answers(say, root, "sst2")[0] == before


@pytest.mark.parametrize("part", ["task", "core"])
def test_other_code_than_in_training_does_not_answer(
    root: Path, refused: Callable[..., tuple[int, list[str]]], part: str
) -> None:
    versions = results(root, "sst2")[0].versions
    older = {"versions": versions.model_copy(update={part: getattr(versions, part) + 1})}
    plant(root, "sst2", dict.fromkeys((1, 2, 3), older))
    code, lines = refused(root, *CLASSIFY, "x")
    assert code == 3 and "another version" in lines[0] and lines[2].endswith("seqbench train sst2 gru")
    loop = {"versions": versions.model_copy(update={"loop": versions.loop - 1})}
    plant(root, "sst2", {1: loop})
    assert apply.find(root, "sst2", "gru", None, "classify").result.seed == 1
