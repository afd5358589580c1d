"""What the tasks of speech share: recordings, log-mel frames, and a word's features without its order.

A frame is 25 ms, there is one every 10 ms. Each recording is first brought to no constant offset and to one
loudness, since both tell speakers apart and say nothing of words.
"""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from seqbench import files
from seqbench.errors import InputError
from seqbench.prepared import SPLITS, Array, Prepared
from seqbench.records import Control, Spec
from seqbench.tasks import Base
from seqbench.tasks._common import bad_member, logistic, majority

BINS = 40
WINDOW, HOP = 0.025, 0.010
"""Seconds."""
LEVEL = 0.1
"""Root mean square of a recording, of full scale."""
QUIET = 1e-4
"""A recording that never swings further, of full scale, is silence."""
FLOOR = 1e-6
"""Power added before the logarithm: about that of a quantisation step."""

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
TAKES = 50
"""Recordings of each digit by each speaker."""
FSDD_RATE = 8000
LEVELLED = "offset and loudness differ by speaker: every recording is brought to no offset and one loudness"


# ---------------------------------------------------------------- recordings


def samples(content: bytes, where: str, rate: int) -> Array:
    """A recording of one channel, `rate` samples a second: (samples,) float32. InputError names `where`."""
    import soundfile  # here, because training has no use for it

    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            found, channels = file.samplerate, file.channels
            wave: Array = file.read(dtype="float32")
    except (soundfile.LibsndfileError, RuntimeError) as error:
        said = getattr(error, "error_string", str(error)).strip()
        raise InputError(f"not a recording that can be read ({said})", where, "give a wav file") from None
    if channels != 1:
        raise InputError(f"{channels} channels, not one", where, "mix it down: sox IN.wav -c 1 OUT.wav")
    if found != rate:
        raise InputError(f"{found} samples a second, not {rate}", where, f"resample it: sox IN.wav -r {rate} OUT.wav")
    if not np.isfinite(wave).all():
        raise InputError("a sample is not finite", where, "record it again")
    return wave


def read_wav(content: bytes, where: str, rate: int) -> Array:
    """`samples`, and an InputError too for a recording that is cut off, shorter than a window or silent."""
    wave = samples(content, where, rate)
    if missing := _missing(content):
        raise InputError(f"cut off: {missing} bytes are missing at its end", where, "give the whole file")
    if len(wave) < round(WINDOW * rate):
        raise InputError(f"{len(wave) / rate:.3f} s is too short", where, f"give {WINDOW} s or more")
    if silent(wave):
        raise InputError("nothing but silence", where, "record it again, louder")
    return wave


def _missing(content: bytes) -> int:
    """Bytes that the header of a wav file promises and the file lacks; the reading library says nothing of them."""
    promised = 8 + int.from_bytes(content[4:8], "little")
    streamed = content[4:8] == b"\xff\xff\xff\xff"  # written by a program that did not know the length yet
    return 0 if content[:4] != b"RIFF" or streamed else max(promised - len(content), 0)


def silent(wave: Array) -> bool:
    """Whether a recording holds no sound."""
    return bool(np.ptp(wave) < 2 * QUIET)


def levelled(wave: Array) -> Array:
    """A recording that is not silent, around zero and with a root mean square of `LEVEL`: (samples,) float32."""
    wide = wave.astype(np.float64)
    centred = wide - wide.mean()
    found: Array = (centred * (LEVEL / np.sqrt(np.mean(centred**2)))).astype(np.float32)
    return found


class Recording(NamedTuple):
    """One spoken digit."""

    digit: int
    speaker: str
    take: int
    wave: Array
    """(samples,) float32, as `levelled` leaves it."""


def recordings(path: Path) -> Iterator[Recording]:
    """The 3000 recordings of FSDD by digit, speaker and take. DataError names the first that is missing or bad."""
    with zipfile.ZipFile(path) as archive:
        known = set(archive.namelist())
        for digit in range(len(DIGITS)):
            for speaker in SPEAKERS:
                for take in range(TAKES):
                    name = f"recordings/{digit}_{speaker}_{take}.wav"
                    if name not in known:
                        raise bad_member("a recording is missing", path, name)
                    try:
                        wave = read_wav(archive.read(name), name, FSDD_RATE)
                    except InputError as error:
                        raise bad_member(error.what, path, name) from None
                    yield Recording(digit, speaker, take, levelled(wave))


def official(take: int) -> str:
    """The split of a take, where all speakers are in all splits: 0 to 4 test, as published, 5 to 9 valid, train."""
    return "test" if take < 5 else "valid" if take < 10 else "train"


# ---------------------------------------------------------------- frames


def log_mel(wave: Array, rate: int) -> Array:
    """(samples,) -> (frames, 40): log of the power in mel bands of Hann windows, where whole ones fit.

    float16 holds three digits of it, and half the memory.
    """
    size, hop = round(WINDOW * rate), round(HOP * rate)
    windows = np.lib.stride_tricks.sliding_window_view(wave, size)[::hop]
    points = 1 << (2 * size - 1).bit_length()  # twice the window, or some low bands would hold no point
    power = np.abs(np.fft.rfft(windows * np.hanning(size + 1)[:-1], points)) ** 2 / size
    found: Array = np.log(power @ bands(rate, points).T + FLOOR).astype(np.float16)
    return found


@functools.cache
def bands(rate: int, points: int) -> Array:
    """Triangles (40, points / 2 + 1) that overlap by half, evenly spaced in mel.

    mel = 2595 log10(1 + f / 700) (O'Shaughnessy 1987).
    """
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BINS + 2) / 2595) - 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    frequencies = np.linspace(0, rate / 2, points // 2 + 1)
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return np.maximum(np.minimum(rising, falling), 0.0)


def scaling(items: Iterable[Array]) -> dict[str, Array]:
    """Mean and deviation of each band over the frames of training items (frames, 40), as prepared arrays."""
    count, total, squares = 0, np.zeros(BINS), np.zeros(BINS)
    for frames in items:
        wide = frames.astype(np.float64)
        count, total, squares = count + len(wide), total + wide.sum(0), squares + (wide**2).sum(0)
    mean = total / count
    return {"mel.mean": mean, "mel.deviation": np.sqrt(squares / count - mean**2)}


def scaled(frames: Array, scale: Mapping[str, Array]) -> Array:
    """Frames (..., 40) at mean 0 and deviation 1 of the training split, float16."""
    found: Array = ((frames - scale["mel.mean"]) / scale["mel.deviation"]).astype(np.float16)
    return found


def padded(items: Sequence[Array], scale: Mapping[str, Array]) -> dict[str, Array]:
    """x (items, longest, 40) float16 as `scaled`, with zeros behind the end, and lengths, of items (frames, 40)."""
    lengths = np.array(list(map(len, items)))
    x = np.zeros((len(items), lengths.max(), BINS), np.float16)
    for row, frames in zip(x, items, strict=True):
        row[: len(frames)] = scaled(frames, scale)
    return {"x": x, "lengths": lengths}


def encode(path: Path, rate: int, data: Prepared) -> Array:
    """A person's recording as the model reads it: (frames, 40) float16.

    Raises InputError where `read_wav` does, and for a recording longer than any that was prepared.
    """
    with files.machine_errors(path):
        content = files.existing(path).read_bytes()
    frames = log_mel(levelled(read_wav(content, str(path), rate)), rate)
    if len(frames) > data.spec.length:
        longest = (data.spec.length - 1) * HOP + WINDOW
        what = f"it lasts longer than {longest:.3f} s, the longest that the model was made for"
        raise InputError(what, str(path), f"cut it: sox IN.wav OUT.wav trim 0 {longest:.3f}")
    return scaled(frames, {name: data.array(name) for name in ("mel.mean", "mel.deviation")})


# ---------------------------------------------------------------- for controls

PENALTY = 0.3
"""L2 weight of a logistic regression on `features`: best of 0.01 to 10 on validation, of both splits of FSDD."""


def pooled(frames: Array) -> Array:
    """Frames without their order, but for thirds: (161,) means of each third, deviation, log of the length."""
    wide = frames.astype(np.float32)
    thirds = [part.mean(0) if len(part) else wide.mean(0) for part in np.array_split(wide, 3)]
    return np.concatenate([*thirds, wide.std(0), [np.log(len(wide))]])


def features(split: Mapping[str, Array]) -> Array:
    """`pooled` of every item of a split: (items, 161)."""
    return np.stack([pooled(x[:length]) for x, length in zip(split["x"], split["lengths"], strict=True)])


# ---------------------------------------------------------------- tasks of one word


class Words(Base):
    """Which of the words that LABELS names was spoken; read both ways.

    x (recordings, frames, 40) float16, zeros behind the end; y (recordings,) int64; lengths (recordings,) int64.
    """

    FAMILY = "speech"
    RATE: ClassVar[int]
    """Samples a second."""

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """Log-mel frames in, one word out."""
        return Spec(
            inputs="values",
            input_size=BINS,
            frontend="spectrogram",
            outputs="classes",
            output_size=len(self.LABELS),
            length=max(arrays[f"{split}.x"].shape[1] for split in SPLITS),
            metric="accuracy",
            direction="max",
            causal=False,
            pooling="mean",
            ceiling=1.0,
        )

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """Majority class; logistic regression on means of thirds."""
        train, test = data.split("train"), data.split("test")
        known, asked = ((features(part), part["y"]) for part in (train, test))
        return (
            majority(self, train["y"], test["y"], data.spec),
            logistic("logistic regression on thirds", self, known, asked, data.spec, PENALTY),
        )

    def encode(self, item: str, data: Prepared) -> Array:
        """A person's recording, a wav file of one channel and the task's rate: (frames, 40)."""
        return encode(Path(item), self.RATE, data)
