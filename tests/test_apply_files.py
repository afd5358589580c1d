"""Trained models on files: recordings, clips, music and series, from the command line."""

from __future__ import annotations

import csv
import io
import itertools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from small import SMALL, Raw, write

from seqbench import apply, archs, cli, decode, music, train
from seqbench.records import Setting, TrainSettings, TuneSettings
from seqbench.tasks import etth1

CPU = torch.device("cpu")
CELLS = {
    "fsdd-official": ("fsdd", "gru"),
    "fsdd_strings": ("fsdd_strings", "gru"),
    "scfd": ("scfd", "rnn"),
    "jsb": ("jsb", "lstm"),
    "etth1-96": ("etth1", "transformer"),
    "stocks-return": ("stocks", "rnn"),
}
CHANGES: dict[str, dict[str, Any]] = {"stocks-return": {"target": "return"}}

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def trained(raw: Raw, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One trained seed of each cell; no test may change them."""
    root = tmp_path_factory.mktemp("trained")
    (root / "prepared").mkdir()
    for task_id, (name, arch) in CELLS.items():
        data = write(name, SMALL[name] | CHANGES.get(task_id, {}), raw, root / "made")
        data.folder.rename(root / "prepared" / task_id)
        rules = TrainSettings(batch=8, steps=8, eval_every=4, patience=0, schedule="constant")
        setting = Setting(
            task=name,
            task_settings=data.manifest.settings,
            arch=arch,
            core=archs.defaults(arch),
            parameters=40_000 if name != "etth1" else 100_000,
            train=rules,
            tune=TuneSettings(),
        )
        train.train_cell(setting, 0.01, (1,), root, CPU, lambda _: None)
    return root


@pytest.fixture(autouse=True)
def on_the_cpu(in_the_repository: None, one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQBENCH_DEVICE", "cpu")


@pytest.fixture
def say(trained: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command: its exit code, what it says, and its log."""

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([*words, "--root", str(trained)])
        return code, *capsys.readouterr()

    return run


def loaded(root: Path, task_id: str) -> apply.Trained:
    name, arch = CELLS[task_id]
    commands = {"fsdd": "classify", "scfd": "classify", "fsdd_strings": "transcribe", "jsb": "compose"}
    return apply.load(apply.find(root, task_id, arch, 1, commands.get(name, "forecast")), CPU)


def unpacked(archive: Path, folder: Path, names: list[str]) -> list[str]:
    with zipfile.ZipFile(archive) as packed:
        for name in names:
            (folder / Path(name).name).write_bytes(packed.read(name))
    return [str(folder / Path(name).name) for name in names]


@pytest.fixture
def wavs(raw: Raw, tmp_path: Path) -> list[str]:
    """Four recordings of differing lengths."""
    return unpacked(raw["fsdd"], tmp_path, [f"recordings/{digit}_theo_{digit}.wav" for digit in (0, 3, 7, 9)])


# ---------------------------------------------------------------- recordings and clips


@torch.no_grad()
def alone(one: apply.Trained, path: str) -> torch.Tensor:
    """Logits of one file, without padding and without lengths."""
    found: torch.Tensor = one.net(torch.from_numpy(one.task.encode(path, one.data))[None])
    return found


def test_recordings_are_classified_as_each_alone(trained: Path, say: Say, wavs: list[str]) -> None:
    one = loaded(trained, "fsdd-official")
    code, out, _ = say("classify", "fsdd-official", "gru", *wavs)
    rows = [line.split("\t") for line in out.splitlines()]
    assert code == 0 and len(rows) == 4
    for path, (label, chance, shown) in zip(wavs, rows, strict=True):
        expected = torch.softmax(alone(one, path)[0].double(), dim=0)
        assert label == one.labels[int(expected.argmax())]
        assert float(chance) == pytest.approx(float(expected.max()), abs=1e-4) and path.startswith(shown)


@pytest.mark.parametrize("way", [["--greedy"], [], ["--beam", "2"]])
def test_recordings_are_transcribed_as_each_alone(trained: Path, say: Say, wavs: list[str], way: list[str]) -> None:
    one = loaded(trained, "fsdd_strings")
    expected = []
    for path in wavs:
        outputs = alone(one, path)
        width = int(way[1]) if len(way) > 1 else 5
        labels = decode.best_path(outputs, None) if way == ["--greedy"] else decode.prefix_beam(outputs, None, width)
        expected.append(one.task.decode(np.array(labels[0], np.int64), one.data))
    code, out, log = say("transcribe", "fsdd_strings", "gru", *way, *wavs)
    assert code == 0 and out.split("\n")[:-1] == expected
    assert "cross_entropy" in log  # the score that chose the run


def test_clips_are_classified(trained: Path, say: Say, raw: Raw, tmp_path: Path) -> None:
    with zipfile.ZipFile(raw["scfd"]) as archive:
        names = [name for name in archive.namelist() if name.endswith(".mp4")][:3]
    paths = unpacked(raw["scfd"], tmp_path, names)
    one = loaded(trained, "scfd")
    code, out, _ = say("classify", "scfd", "rnn", *paths)
    labels = [line.split("\t")[0] for line in out.splitlines()]
    assert code == 0 and labels == [one.labels[int(alone(one, path).argmax())] for path in paths]


# ---------------------------------------------------------------- music


def test_a_piece_goes_on_and_is_written_as_midi(trained: Path, say: Say, tmp_path: Path) -> None:
    one = loaded(trained, "jsb")
    to = tmp_path / "out.mid"
    code, out, log = say("compose", "jsb", "lstm", "--to", str(to), "--opening", "3", "--steps", "9")
    assert code == 0 and "12 steps, 6 s, the last 9 of them composed" in out
    opening, composed = one.compose(None, 3, 9, 1.0, 1)
    assert f"opening: {opening}" in log and len(music.from_text(opening)) == 3
    piece = [*music.from_text(opening), *music.from_text(composed)]
    assert to.read_bytes() == music.midi(piece, one.seconds)
    roll = torch.from_numpy(np.array(one.data.split("valid")["x"][0]))
    assert one.task.decode(roll[:3].numpy(), one.data) == opening
    drawing = decode.sample_many(one.net, roll[:3], torch.Generator().manual_seed(apply.derive(1, "sample")))  # type: ignore[arg-type]
    drawn = torch.stack(list(itertools.islice(drawing, 9)))
    assert one.task.decode(drawn.numpy(), one.data) == composed


def test_a_midi_file_is_the_opening_and_the_seed_draws_the_rest(trained: Path, say: Say, tmp_path: Path) -> None:
    given = [[60, 64, 67], [60, 65, 69], [59, 62, 67], [60, 64, 67]]
    path = tmp_path / "given.mid"
    path.write_bytes(music.midi(given, 0.5))
    outs = []
    for seed in ("1", "1", "2"):
        to = tmp_path / f"{len(outs)}.mp3"
        words = ["compose", "jsb", "lstm", str(path), "--to", str(to), "--opening", "0", "--steps", "16"]
        code, _, log = say(*words, "--sample-seed", seed)
        assert code == 0 and music.as_text(given) in log
        outs.append(to.read_bytes())
    assert outs[0] == outs[1] != outs[2]
    wave, rate = soundfile.read(io.BytesIO(outs[0]))
    assert len(wave) / rate == pytest.approx(20 * 0.5, abs=0.2)


# ---------------------------------------------------------------- series


def test_a_forecast_is_in_the_units_of_the_file(trained: Path, say: Say, raw: Raw, tmp_path: Path) -> None:
    lines = raw["etth1"].read_text().splitlines()[:200]
    path = tmp_path / "some.csv"
    path.write_text("\n".join(lines) + "\n")
    code, out, _ = say("forecast", "etth1-96", "transformer", str(path))
    assert code == 0
    header, *rows = csv.reader(io.StringIO(out))
    assert header == lines[0].split(",") and len(rows) == 96
    one = loaded(trained, "etth1-96")
    expected = alone(one, str(path))[0].numpy().reshape(96, len(etth1.CHANNELS))
    expected = expected * one.data.array("scale.deviation") + one.data.array("scale.mean")
    np.testing.assert_allclose(np.array([row[1:] for row in rows], float), expected, rtol=1e-4)
    assert rows[0][0] > lines[-1].split(",")[0]


def test_a_stock_is_forecast_from_its_own_rows(trained: Path, say: Say, raw: Raw, tmp_path: Path) -> None:
    header, *rows = raw["stocks"].read_text().splitlines()
    path = tmp_path / "one.csv"
    path.write_text("\n".join([header, *(row for row in rows if row.endswith(",AAA"))]) + "\n")
    code, out, _ = say("forecast", "stocks-return", "rnn", str(path))
    assert code == 0 and len(out.splitlines()) == 2


# ---------------------------------------------------------------- what is refused


def broken(folder: Path) -> dict[str, str]:
    """Files that are not what a task reads."""
    tone = np.sin(np.arange(8000) / 5)
    soundfile.write(folder / "two.wav", np.stack([tone, tone], axis=1), 8000)
    soundfile.write(folder / "fast.wav", tone, 16000)
    soundfile.write(folder / "still.wav", 0 * tone, 8000)
    (folder / "text.wav").write_text("not a recording")
    (folder / "text.mp4").write_text("not a clip")
    (folder / "text.mid").write_text("not music")
    (folder / "short.csv").write_text("date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT\n2016-07-01 00:00:00,1,2,3,4,5,6,7\n")
    return {path.name: str(path) for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["classify", "fsdd-official", "gru", "two.wav"], "2 channels"),
        (["classify", "fsdd-official", "gru", "fast.wav"], "16000 samples a second, not 8000"),
        (["transcribe", "fsdd_strings", "gru", "still.wav"], "silence"),
        (["transcribe", "fsdd_strings", "gru", "text.wav"], "not a recording"),
        (["transcribe", "fsdd_strings", "gru", "missing.wav"], "missing"),
        (["classify", "scfd", "rnn", "text.mp4"], "decoded"),
        (["compose", "jsb", "lstm", "text.mid", "--to", "out.mid"], "not a MIDI file"),
        (["forecast", "etth1-96", "transformer", "short.csv"], "1 row"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_bad_file_is_named_in_three_lines(say: Say, tmp_path: Path, words: list[str], says: str) -> None:
    files = broken(tmp_path)
    given = [files.get(word, str(tmp_path / word) if "." in word else word) for word in words]
    code, out, log = say(*given)
    lines = [line for line in log.splitlines() if line.startswith(("error:", "where:", "fix:"))]
    assert code == 2 and out == "" and len(lines) == 3
    assert says in lines[0]
    (path,) = (word for word in given if word.endswith(tuple(files)) or "missing" in word)
    assert path in lines[1]
    assert not (tmp_path / "out.mid").exists()


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["compose", "jsb", "lstm", "--to", "out.wav"], "--to out.wav"),
        (["compose", "jsb", "lstm", "--to", "out.mid", "--steps", "0"], "steps = 0"),
        (["compose", "jsb", "lstm", "--to", "out.mid", "--opening", "-1"], "opening = -1"),
        (["compose", "jsb", "lstm", "--to", "out.mid", "--temperature", "-1"], "temperature = -1"),
        (["transcribe", "fsdd_strings", "gru", "--beam", "0", "WAV"], "beam = 0"),
        (["transcribe", "jsb", "lstm", "x.wav"], "task jsb"),
    ],
)
def test_a_bad_option_is_named(say: Say, wavs: list[str], words: list[str], where: str) -> None:
    code, out, log = say(*(wavs[0] if word == "WAV" else word for word in words))
    assert code == 2 and out == ""
    assert f"where: {where}" in log
