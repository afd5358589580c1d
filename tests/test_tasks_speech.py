"""Speech: recordings, frames, FSDD, its strings and Speech Commands, on tones made here and on the real recordings."""

from __future__ import annotations

import gzip
import io
import itertools
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly
from small import Raw, Real, control, packed, small, tar, wav, word_recordings, write

from seqbench.errors import DataError, InputError
from seqbench.prepared import SPLITS, Array, Prepared, unpack
from seqbench.records import UNSCORED
from seqbench.tasks import _speech as speech
from seqbench.tasks import fsdd_strings, speech_commands

OFFICIAL = {"train": range(10, 50), "valid": range(5, 10), "test": range(5)}


def sine(frequency: float, seconds: float = 1.0, rate: int = 8000, loudness: float = 0.3) -> Array:
    wave: Array = loudness * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)
    return wave


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# ---------------------------------------------------------------- recordings


def with_nan() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.where(np.arange(800) == 7, np.nan, 0.1), 8000, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


BAD = {
    "another rate": (wav(sine(500, rate=16000), 16000), "16000 samples a second, not 8000", "sox IN.wav -r 8000"),
    "two channels": (wav(np.stack([sine(500)] * 2, axis=1), 8000), "2 channels, not one", "sox IN.wav -c 1"),
    "zeros": (wav(np.zeros(8000), 8000), "nothing but silence", "louder"),
    "an offset": (wav(np.full(8000, 0.5), 8000), "nothing but silence", "louder"),
    "too short": (wav(sine(500, 0.024), 8000), "0.024 s is too short", "0.025 s or more"),
    "no samples": (wav(np.zeros(0), 8000), "0.000 s is too short", "0.025 s or more"),
    "cut off": (wav(sine(500), 8000)[:-100], "cut off: 100 bytes are missing", "the whole file"),
    "not finite": (with_nan(), "a sample is not finite", "record it again"),
    "empty": (b"", "not a recording that can be read", "give a wav file"),
    "half a header": (wav(sine(500), 8000)[:30], "not a recording that can be read", "give a wav file"),
    "a text": (b"three one four", "not a recording that can be read", "give a wav file"),
}


@pytest.fixture(scope="module")
def prepared(raw: Raw, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """FSDD, of tones."""
    return write("fsdd", {}, raw, tmp_path_factory.mktemp("prepared"))


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_recording_of_a_person_is_named(kind: str, prepared: Prepared, tmp_path: Path) -> None:
    content, what, fix = BAD[kind]
    path = put(tmp_path / "mine.wav", content)
    with pytest.raises(InputError, match=what) as error:
        small("fsdd").encode(str(path), prepared)
    assert error.value.where == str(path)
    assert fix in error.value.fix


def test_a_path_that_is_no_file_is_named(prepared: Prepared, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.wav"):
        with pytest.raises(InputError, match="the file is missing") as error:
            small("fsdd").encode(str(path), prepared)
        assert error.value.where == str(path)


@pytest.mark.parametrize(("name", "rate"), [("fsdd", 8000), ("fsdd_strings", 8000), ("speech_commands", 16000)])
def test_the_longest_recording_is_read_and_a_longer_one_refused(name: str, rate: int, raw: Raw, tmp_path: Path) -> None:
    data = write(name, small(name).settings.plain(), raw, tmp_path)
    length = data.spec.length
    size = rate // 40 + (length - 1) * rate // 100
    path = put(tmp_path / "mine.wav", wav(sine(500, 9, rate)[:size], rate))
    assert small(name).encode(str(path), data).shape == (length, 40)
    put(path, wav(sine(500, 9, rate)[: size + rate // 100], rate))
    with pytest.raises(InputError, match="lasts longer than") as error:
        small(name).encode(str(path), data)
    assert error.value.where == str(path)
    assert f"trim 0 {size / rate:.3f}" in error.value.fix


def test_a_header_that_does_not_know_the_length_is_no_cut() -> None:
    content = wav(sine(500), 8000)
    assert len(speech.read_wav(content[:4] + b"\xff" * 4 + content[8:], "mine.wav", 8000)) == 8000


def test_offset_and_loudness_make_no_difference() -> None:
    wave = sine(500) + 0.3 * sine(1700)
    level = speech.levelled(wave)
    assert level.mean() == pytest.approx(0, abs=1e-6)
    assert np.sqrt(np.mean(level.astype(np.float64) ** 2)) == pytest.approx(0.1, rel=1e-6)
    np.testing.assert_allclose(speech.levelled(0.01 * wave + 0.4), level, atol=1e-6)


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize(("rate", "band", "frequency"), [(8000, 19, 1072), (8000, 0, 33), (16000, 39, 7474)])
def test_a_tone_is_loudest_in_the_band_around_it(rate: int, band: int, frequency: float) -> None:
    """By hand: 41 steps of 52.34 mel reach 4 kHz, 20 of them 1047 mel, 1072 Hz; 41 of 69.27 reach 8 kHz."""
    frames = speech.log_mel(sine(frequency, rate=rate), rate)
    assert frames.shape == (98, 40)  # (1 - 0.025) / 0.010, and the first
    assert set(frames.argmax(axis=1)) == {band}


@pytest.mark.parametrize("rate", [8000, 16000])
def test_bands_share_the_power_between_them(rate: int) -> None:
    points = 512 * rate // 8000
    bands = speech.bands(rate, points)
    peaks = bands.argmax(axis=1)
    assert (bands.sum(axis=1) > 0.5).all()  # none is empty
    np.testing.assert_allclose(bands[:, peaks[0] + 1 : peaks[-1]].sum(axis=0), 1)


def test_a_click_is_as_loud_in_a_band_as_the_band_is_wide() -> None:
    """By hand: a click in the window's middle has the power 1 / 200 in each of 257 points, 15.6 Hz apart.

    The last triangle reaches from 3583 to 4000 Hz, has the height 1, and so holds 208 / 15.6 = 13.3 points.
    """
    click = np.zeros(200)
    click[100] = 1
    (frame,) = np.exp(speech.log_mel(click, 8000).astype(np.float64))
    assert frame[39] == pytest.approx(13.3 / 200, rel=0.01)
    np.testing.assert_allclose(frame, speech.bands(8000, 512).sum(axis=1) / 200, rtol=0.01)
    np.testing.assert_allclose(speech.log_mel(np.zeros(200), 8000), np.log(1e-6), atol=0.01)


def test_bands_are_standardised_by_the_frames_they_are_given() -> None:
    items = [np.full((1, 40), 2.0), np.full((3, 40), 6.0)]
    scale = speech.scaling(items)
    np.testing.assert_allclose(scale["mel.mean"], 5)
    np.testing.assert_allclose(scale["mel.deviation"], np.sqrt(3))
    parts = speech.padded(items, scale)
    assert parts["x"].shape == (2, 3, 40) and parts["lengths"].tolist() == [1, 3]
    np.testing.assert_allclose(parts["x"][:, :, 0], np.array([[-3, 0, 0], [1, 1, 1]]) / np.sqrt(3), atol=1e-3)


def test_thirds_know_the_order_of_thirds_and_nothing_finer() -> None:
    frames = np.arange(9.0)[:, None] + np.arange(40)
    found = speech.pooled(frames)
    assert found.shape == (161,)
    assert found[[0, 40, 80]].tolist() == [1, 4, 7]
    np.testing.assert_allclose(found[120:160], np.arange(9).std())
    assert found[160] == np.log(9)
    np.testing.assert_allclose(speech.pooled(frames[[2, 0, 1, 5, 4, 3, 7, 8, 6]]), found)
    assert np.isfinite(speech.pooled(frames[:1])).all()


# ---------------------------------------------------------------- FSDD


def every() -> list[tuple[int, str, int]]:
    """Digit, speaker and take of each recording."""
    return list(itertools.product(range(10), speech.SPEAKERS, range(50)))


HELD = {"george": "test", "theo": "valid", "yweweler": "test"}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", ["official", "speakers"])
def test_fsdd_rows_are_the_recordings_of_the_split(kind: str, split: str, raw: Raw, tmp_path: Path) -> None:
    data = write("fsdd", {"split": kind}, raw, tmp_path)
    x, y, lengths = (data.split(split)[part] for part in ("x", "y", "lengths"))
    of = {take: name for name, takes in OFFICIAL.items() for take in takes}
    names = [one for one in every() if split == (of[one[2]] if kind == "official" else HELD.get(one[1], "train"))]
    assert y.tolist() == [digit for digit, _, _ in names]
    with zipfile.ZipFile(raw["fsdd"]) as archive:
        for row in (0, 1, len(names) // 2, len(names) - 1):
            content = archive.read("recordings/{}_{}_{}.wav".format(*names[row]))
            path = put(tmp_path / "one.wav", content)
            frames = small("fsdd", split=kind).encode(str(path), data)
            np.testing.assert_array_equal(x[row, : lengths[row]], frames)
            assert not x[row, lengths[row] :].any()


def test_fsdd_is_standardised_by_its_training_split(raw: Raw) -> None:
    arrays, _ = small("fsdd").arrays(raw)
    x, lengths = arrays["train.x"].astype(np.float64), arrays["train.lengths"]
    frames = np.concatenate([item[:length] for item, length in zip(x, lengths, strict=True)])
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(frames.std(axis=0), 1, atol=0.01)


def changed(raw: Raw, path: Path, changes: Mapping[str, bytes | None]) -> Raw:
    """FSDD with some recordings replaced, or left out (None)."""
    with zipfile.ZipFile(raw["fsdd"]) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | dict(changes)
    return {
        **raw,
        "fsdd": put(path, packed({name: content for name, content in members.items() if content is not None})),
    }


@pytest.mark.parametrize("name", ["fsdd", "fsdd_strings"])
@pytest.mark.parametrize(("kind", "what"), [("zeros", "nothing but silence"), ("two channels", "2 channels")])
def test_a_bad_recording_of_fsdd_is_named(name: str, kind: str, what: str, raw: Raw, tmp_path: Path) -> None:
    bad = changed(raw, tmp_path / "fsdd.zip", {"recordings/3_lucas_17.wav": BAD[kind][0]})
    with pytest.raises(DataError, match=what) as error:
        small(name).arrays(bad)
    assert error.value.where == f"{bad['fsdd']}, recordings/3_lucas_17.wav"
    assert "fetch" in error.value.fix


def test_a_missing_recording_of_fsdd_is_named(raw: Raw, tmp_path: Path) -> None:
    bad = changed(raw, tmp_path / "fsdd.zip", {"recordings/9_yweweler_49.wav": None})
    with pytest.raises(DataError, match="a recording is missing") as error:
        small("fsdd").arrays(bad)
    assert error.value.where == f"{bad['fsdd']}, recordings/9_yweweler_49.wav"


def test_long_recordings_of_fsdd_are_kept_and_counted(raw: Raw, tmp_path: Path) -> None:
    long = changed(raw, tmp_path / "fsdd.zip", {"recordings/9_theo_16.wav": wav(sine(500, 2.3), 8000)})
    arrays, notes = small("fsdd").arrays(long)
    assert arrays["train.lengths"].max() == 228
    assert notes[2].startswith("1 recordings last over two seconds")


# ---------------------------------------------------------------- strings


def test_strings_say_what_their_labels_say(raw: Raw, tmp_path: Path) -> None:
    data = write("fsdd_strings", small("fsdd_strings").settings.plain(), raw, tmp_path)
    job = small("fsdd_strings")
    for split in SPLITS:
        part = data.split(split)
        texts = unpack(part["references"])
        assert part["y"].shape == (len(texts), 3)
        for labels, text in zip(part["y"], texts, strict=True):
            said = labels[labels != UNSCORED]
            assert 1 <= len(said) <= 3 and (labels[len(said) :] == UNSCORED).all()
            assert [speech.DIGITS[label - 1] for label in said] == text.split()
            assert job.decode(said, data) == text
    assert data.spec.target_length == 3 and data.spec.scorer == f"jiwer {version('jiwer')}"


def test_every_string_length_and_digit_is_drawn(raw: Raw) -> None:
    arrays, _ = small("fsdd_strings", train=600, shortest=2, longest=4).arrays(raw)
    y = arrays["train.y"]
    lengths = np.bincount((y != UNSCORED).sum(axis=1), minlength=5)
    assert (lengths[:2] == 0).all() and (np.abs(lengths[2:] - 200) < 60).all()
    digits = np.bincount(y[y != UNSCORED], minlength=11)
    assert digits[0] == 0 and (np.abs(digits[1:] - 180) < 70).all()


def test_no_recording_is_in_strings_of_two_splits(raw: Raw, tmp_path: Path) -> None:
    """The takes of each split are a tone of their own, and no string has another's."""
    tones = {"train": 2000, "valid": 1000, "test": 500}
    takes = {take: wav(sine(tones[split], 0.1), 8000) for split, some in OFFICIAL.items() for take in some}
    members = {f"recordings/{digit}_{who}_{take}.wav": takes[take] for digit, who, take in every()}
    arrays, _ = small("fsdd_strings").arrays({"fsdd": put(tmp_path / "fsdd.zip", packed(members))})
    for split, tone in tones.items():
        band = int(speech.log_mel(sine(tone), 8000)[0].argmax())
        x = arrays[f"{split}.x"] * arrays["mel.deviation"] + arrays["mel.mean"]
        real = np.arange(x.shape[1]) < arrays[f"{split}.lengths"][:, None]
        loud = real & (x.max(axis=2) > x.max() - 3)
        assert loud.any(axis=1).all()
        assert set(x[loud].argmax(axis=1)) == {band}


def test_a_recording_comes_again_only_after_all_others() -> None:
    takes = [np.full(2, value) for value in (0.0, 1.0, 2.0)]
    deck = fsdd_strings.dealt(takes, np.random.default_rng(0))
    rounds = [[next(deck)[0] for _ in takes] for _ in range(20)]
    assert all(sorted(some) == [0, 1, 2] for some in rounds)
    assert len({tuple(some) for some in rounds}) > 3


def test_pauses_are_faint_noise_of_a_twentieth_to_three_tenths_of_a_second() -> None:
    random = np.random.default_rng(0)
    pauses = [fsdd_strings.pause(random) for _ in range(500)]
    sizes = np.array(list(map(len, pauses)))
    assert sizes.min() >= 400 and sizes.max() <= 2400
    assert sizes.min() < 450 and sizes.max() > 2350
    assert np.concatenate(pauses).std() == pytest.approx(speech.LEVEL / 100, rel=0.02)  # 40 dB below the speech


def test_a_recorded_string_is_read_as_those_that_were_made(
    raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = []

    def kept(wave: Array, rate: int, real: Any = speech.log_mel) -> Array:
        waves.append(wave)
        return np.asarray(real(wave, rate))

    monkeypatch.setattr(speech, "log_mel", kept)
    data = write("fsdd_strings", small("fsdd_strings").settings.plain(), raw, tmp_path)
    first = data.split("train")["x"][0], data.split("train")["lengths"][0]
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.2 * waves[0] + 0.1, 8000, format="WAV", subtype="FLOAT")  # quieter, with an offset
    found = small("fsdd_strings").encode(str(put(tmp_path / "mine.wav", buffer.getvalue())), data)
    np.testing.assert_allclose(found, first[0][: first[1]], atol=0.02)


def test_word_errors_are_counted_by_hand(raw: Raw, tmp_path: Path) -> None:
    job = small("fsdd_strings")
    spec = job.spec(job.arrays(raw)[0])
    found = job.score(["one three", "four four", "six"], ["one two three", "four", "six"], spec)
    assert found == {"wer": pytest.approx(2 / 5), "sentence": pytest.approx(1 / 3)}  # one left out, one put in
    assert job.score(["", ""], ["one", "two"], spec) == {"wer": 1.0, "sentence": 0.0}
    assert job.score(["one two three"], ["one"], spec)["wer"] == 2.0


def test_the_trivial_control_is_the_best_constant_of_train(raw: Raw, tmp_path: Path) -> None:
    data = write("fsdd_strings", small("fsdd_strings", train=300).settings.plain(), raw, tmp_path)
    job = small("fsdd_strings")
    trivial, strong = job.controls(data)
    known, asked = (unpack(data.split(split)["references"]) for split in ("train", "test"))
    best = re.fullmatch("always '(.*)'", trivial.name)
    assert best
    said = {n: job.score([" ".join(["one"] * n)] * len(known), known, data.spec)["wer"] for n in range(4)}
    assert job.score([best[1]] * len(known), known, data.spec)["wer"] <= min(said.values()) < 1
    assert trivial.metrics == job.score([best[1]] * len(asked), asked, data.spec)
    assert strong.metrics["wer"] < 0.2 < trivial.metrics["wer"]


def test_strings_that_cannot_be_cut_at_pauses_leave_no_control(
    raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write("fsdd_strings", small("fsdd_strings").settings.plain(), raw, tmp_path)
    monkeypatch.setattr(fsdd_strings, "SHORTEST_WORD", 500)  # frames, more than any string has
    with pytest.raises(InputError, match="as many parts as they have digits") as error:
        small("fsdd_strings").controls(data)
    assert "train" in error.value.fix


def test_a_shortest_string_above_the_longest_is_an_input_error(raw: Raw) -> None:
    with pytest.raises(InputError, match="longer than the longest") as error:
        small("fsdd_strings", shortest=4, longest=3).arrays(raw)
    assert error.value.where == "shortest = 4, longest = 3"


# ---------------------------------------------------------------- Speech Commands


def archive(path: Path, changes: Mapping[str, bytes | None], *more: tarfile.TarInfo) -> Raw:
    """The small archive with some members replaced, added or left out (None)."""
    members = word_recordings() | dict(changes)
    content = tar({name: content for name, content in members.items() if content is not None}, *more)
    return {"speech-commands": put(path, content)}


def test_speech_commands_rows_are_those_of_the_lists(raw: Raw, tmp_path: Path) -> None:
    data = write("speech_commands", {}, raw, tmp_path)
    speakers = {"train": range(4), "valid": [4], "test": [5]}
    members = word_recordings()
    for split, some in speakers.items():
        names = sorted(
            f"{word}/{n:08x}_nohash_{i % 3}.wav" for i, word in enumerate(speech_commands.WORDS) for n in some
        )
        x, y, lengths = (data.split(split)[part] for part in ("x", "y", "lengths"))
        assert x.shape == (len(names), 98, 40) and x.dtype == np.float16
        assert [speech_commands.WORDS[label] for label in y] == [name.split("/")[0] for name in names]
        for row in (0, len(names) // 2, len(names) - 1):
            path = put(tmp_path / "one.wav", members[f"./{names[row]}"])
            np.testing.assert_array_equal(x[row, : lengths[row]], small("speech_commands").encode(str(path), data))
            assert not x[row, lengths[row] :].any()
    assert data.manifest.defects[-1].startswith("0 speakers")


def test_names_with_and_without_a_dot_are_the_same(raw: Raw, tmp_path: Path) -> None:
    plain = {name.removeprefix("./"): content for name, content in word_recordings().items()}
    path = put(tmp_path / "plain.tar.gz", tar(dict(sorted(plain.items()))))
    found, expected = (small("speech_commands").arrays(source)[0] for source in ({"speech-commands": path}, raw))
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


def test_odd_recordings_are_kept_and_counted(tmp_path: Path) -> None:
    odd = {
        "./bed/00000000_nohash_1.wav": wav(np.zeros(16000), 16000),
        "./bed/00000001_nohash_1.wav": wav(sine(500, 1.5, 16000), 16000),
        "./bed/00000002_nohash_1.wav": wav(sine(500, 0.01, 16000), 16000),
        "./bed/00000003_nohash_1.wav": wav(np.zeros(0), 16000),
        "./bed/00000004_nohash_1.wav": wav(sine(500, 1.0, 16000), 16000),
        "./zero/00000004_nohash_9.wav": wav(sine(500, 1.0, 16000), 16000),  # of train, by a speaker of valid
    }
    arrays, notes = small("speech_commands").arrays(archive(tmp_path / "odd.tar.gz", odd))
    assert notes[:4] == (
        "207 recordings last less than a second: kept as they are",
        "1 recordings last more than a second: the first second is taken",
        "2 recordings are shorter than a window: filled up with silence",
        "2 recordings hold no sound: kept as silence",
    )
    assert notes[-1].startswith("1 speakers")
    assert arrays["train.lengths"][4:8].tolist() == [98, 98, 1, 1]
    floor = (np.log(1e-6) - arrays["mel.mean"]) / arrays["mel.deviation"]
    np.testing.assert_allclose(arrays["train.x"][4], np.tile(floor, (98, 1)), rtol=0.01)
    assert np.isfinite(arrays["train.x"]).all()


FIRST = "bed/00000000_nohash_1.wav"


@pytest.mark.parametrize(
    ("changes", "what", "where"),
    [
        ({f"./{FIRST}": BAD["two channels"][0]}, "2 channels", FIRST),
        ({f"./{FIRST}": wav(sine(500), 8000)}, "8000 samples a second, not 16000", FIRST),
        ({f"./{FIRST}": b"RIFF"}, "not a recording that can be read", FIRST),
        ({f"./{FIRST}": b"0" * (1 << 22) + b"0"}, "far too long", FIRST),
        ({"./cow/00000000_nohash_1.wav": b""}, "none of the words", "cow/00000000_nohash_1.wav"),
        ({"./testing_list.txt": None}, "the list is missing", "testing_list.txt"),
        ({"./testing_list.txt": f"\n{FIRST}".encode()}, "no recording ''", "testing_list.txt, line 1"),
        ({"./testing_list.txt": b"bed/none.wav\n"}, "no recording 'bed/none.wav'", "testing_list.txt, line 1"),
        (
            {"./testing_list.txt": f"{FIRST}\nyes/00000004_nohash_0.wav\n".encode()},
            "'yes/00000004_nohash_0.wav' is in two lists",
            "testing_list.txt, line 2",
        ),
        ({"./validation_list.txt": b""}, "no recording for valid", "*.wav"),
        ({FIRST: BAD["zeros"][0]}, "stands twice", FIRST),
    ],
)
def test_what_is_wrong_with_the_archive_is_named(
    changes: dict[str, bytes | None], what: str, where: str, tmp_path: Path
) -> None:
    bad = archive(tmp_path / "bad.tar.gz", changes)
    with pytest.raises(DataError, match=re.escape(what)) as error:
        small("speech_commands").arrays(bad)
    assert error.value.where == f"{bad['speech-commands']}, {where}"
    assert "fetch" in error.value.fix


def test_a_link_in_the_archive_is_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("./bed/link_nohash_0.wav")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    with pytest.raises(DataError, match="a link"):
        small("speech_commands").arrays(archive(tmp_path / "link.tar.gz", {}, link))


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def damaged(content: bytes) -> bytes:
    whole = gzip.decompress(content)
    return gzip.compress(whole, mtime=0)[:-8] + bytes(8)  # the last bytes are the checksum and the size


@pytest.mark.parametrize("damage", [cut, damaged, lambda content: b"<html>" + content])
def test_a_damaged_archive_is_named(damage: Callable[[bytes], bytes], raw: Raw, tmp_path: Path) -> None:
    path = put(tmp_path / "bad.tar.gz", damage(raw["speech-commands"].read_bytes()))
    with pytest.raises(DataError, match=r"not a whole \.tar\.gz") as error:
        small("speech_commands").arrays({"speech-commands": path})
    assert error.value.where == str(path)
    assert error.value.fix.endswith("seqbench fetch speech-commands")


# ---------------------------------------------------------------- all of them


def test_importing_a_task_of_speech_loads_no_library_for_it() -> None:
    modules = ("fsdd", "fsdd_strings", "speech_commands")
    heavy = ("soundfile", "jiwer", "sklearn", "scipy.signal", "torch")
    code = f"import sys; {'; '.join(f'import seqbench.tasks.{name}' for name in modules)}; "
    code += f"sys.exit(' '.join(name for name in {heavy} if name in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# ---------------------------------------------------------------- the real recordings


@pytest.mark.mirror
def test_real_fsdd_official(real: Real, tmp_path: Path) -> None:
    data = write("fsdd", {}, real("fsdd"), tmp_path)
    assert data.manifest.sizes == {"train": 2400, "valid": 300, "test": 300}
    assert data.manifest.defects[2].startswith("2 recordings last over two seconds")
    found = control("fsdd", data)
    assert found["trivial"]["accuracy"] == 0.1
    assert 0.97 < found["strong"]["accuracy"] < 0.995


@pytest.mark.mirror
def test_real_fsdd_by_speakers_is_harder(real: Real, tmp_path: Path) -> None:
    data = write("fsdd", {"split": "speakers"}, real("fsdd"), tmp_path)
    assert data.manifest.sizes == {"train": 1500, "valid": 500, "test": 1000}
    assert 0.55 < control("fsdd", data)["strong"]["accuracy"] < 0.7


@pytest.mark.mirror
def test_real_offset_of_one_speaker_is_taken_away(real: Real) -> None:
    means: dict[str, list[float]] = {who: [] for who in speech.SPEAKERS}
    with zipfile.ZipFile(real("fsdd")["fsdd"]) as archive:
        for who in speech.SPEAKERS:
            for take in range(50):
                name = f"recordings/7_{who}_{take}.wav"
                wave = speech.read_wav(archive.read(name), name, 8000)
                means[who].append(32768 * float(wave.mean()))
                assert abs(speech.levelled(wave).mean()) < 1e-6
    assert min(means["nicolas"]) > -270 and max(means["nicolas"]) < -220
    assert max(abs(mean) for who in speech.SPEAKERS if who != "nicolas" for mean in means[who]) < 150


@pytest.mark.mirror
def test_real_strings(real: Real, tmp_path: Path) -> None:
    settings = small("fsdd_strings", train=1000, valid=50, test=200, shortest=3, longest=7).settings.plain()
    data = write("fsdd_strings", settings, real("fsdd"), tmp_path)
    found = control("fsdd_strings", data)
    assert 0.85 < found["trivial"]["wer"] < 0.95
    assert 0.01 < found["strong"]["wer"] < 0.12


@pytest.mark.mirror
def test_real_digits_in_an_archive_as_speech_commands(real: Real, tmp_path: Path) -> None:
    """Digits of FSDD at 16 kHz: 20 by each speaker to train, 3 each to validate and to test."""
    members: dict[str, bytes] = {}
    lists: dict[str, list[str]] = {"valid": [], "test": []}
    for one in speech.recordings(real("fsdd")["fsdd"]):
        if one.take >= 26:
            continue
        name = f"{speech.DIGITS[one.digit]}/{speech.SPEAKERS.index(one.speaker):08x}_nohash_{one.take}.wav"
        members[f"./{name}"] = wav(resample_poly(one.wave, 2, 1).clip(-1, 1), 16000)
        if one.take < 6:
            lists["valid" if one.take < 3 else "test"].append(name)
    members |= {f"./{name}": "\n".join(lists[split]).encode() for name, split in speech_commands.LISTS.items()}
    data = write("speech_commands", {}, {"speech-commands": put(tmp_path / "a.tar.gz", tar(members))}, tmp_path)
    assert data.manifest.sizes == {"train": 1200, "valid": 180, "test": 180}
    found = control("speech_commands", data)
    assert found["trivial"]["accuracy"] == 0.1 and found["strong"]["accuracy"] > 0.9
