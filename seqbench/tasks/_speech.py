"""What the tasks of speech share: recordings, log-mel frames, and a word's features without its order.

A frame is 25 ms, there is one every 10 ms. Each recording is brought to one loudness first, since
loudness tells speakers apart and says nothing of words.
"""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqbench.errors import InputError
from seqbench.prepared import Array, Prepared
from seqbench.tasks._common import bad_member

BINS = 40
WINDOW, HOP = 0.025, 0.010
"""Seconds."""
LEVEL = 0.1
"""Root mean square of a recording, of full scale."""
QUIET = 1e-4
"""A recording that never gets louder, of full scale, is silence."""
FLOOR = 1e-6
"""Power added before the logarithm: about that of a quantisation step."""

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
TAKES = 50
"""Recordings of each digit by each speaker."""
FSDD_RATE = 8000


# ---------------------------------------------------------------- recordings


def read_wav(content: bytes, where: str, rate: int) -> Array:
    """A recording of one channel, `rate` samples a second: (samples,) float32 at `LEVEL`. InputError names `where`."""
    import soundfile  # here, because training has no use for it

    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            found, channels = file.samplerate, file.channels
            wave = file.read(dtype="float32")
    except (soundfile.LibsndfileError, RuntimeError) as error:
        what = f"not a recording that can be read ({' '.join(str(error).split())})"
        raise InputError(what, where, "give a whole wav file") from None
    if channels != 1:
        raise InputError(f"{channels} channels, not one", where, "mix it down: sox IN.wav -c 1 OUT.wav")
    if found != rate:
        raise InputError(f"{found} samples a second, not {rate}", where, f"resample it: sox IN.wav -r {rate} OUT.wav")
    if len(wave) < round(WINDOW * rate):
        raise InputError(f"{len(wave) / rate:.3f} s is too short", where, f"give {WINDOW} s or more")
    if not np.isfinite(wave).all():
        raise InputError("a sample is not finite", where, "record it again")
    if np.abs(wave).max() < QUIET:
        raise InputError("nothing but silence", where, "record it again, louder")
    level: Array = wave * np.float32(LEVEL / np.sqrt(np.mean(wave.astype(np.float64) ** 2)))
    return level


class Recording(NamedTuple):
    """One spoken digit."""

    digit: int
    speaker: str
    take: int
    wave: Array
    """(samples,) float32"""


def recordings(path: Path) -> Iterator[Recording]:
    """The 3000 recordings of FSDD, one after the other, by name. DataError names the first that is missing or bad."""
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
                    yield Recording(digit, speaker, take, wave)


# ---------------------------------------------------------------- frames


def log_mel(wave: Array, rate: int) -> Array:
    """(samples,) -> (frames, 40) float32: log of the power in mel bands of Hann windows."""
    size, hop = round(WINDOW * rate), round(HOP * rate)
    windows = np.lib.stride_tricks.sliding_window_view(wave, size)[::hop]
    points = 1 << (2 * size - 1).bit_length()  # twice the window, or some low bands would hold no point
    power = np.abs(np.fft.rfft(windows * np.hanning(size + 1)[:-1], points)) ** 2 / size
    found: Array = np.log(power @ bands(rate, points).T + FLOOR).astype(np.float32)
    return found


@functools.cache
def bands(rate: int, points: int) -> Array:
    """Triangles that overlap by half, evenly spaced in mel = 2595 log10(1 + f / 700): (40, points / 2 + 1)."""
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
    """Frames (frames, 40) float32 at mean 0 and deviation 1 of the training split."""
    found: Array = ((frames - scale["mel.mean"]) / scale["mel.deviation"]).astype(np.float32)
    return found


def padded(items: list[Array]) -> dict[str, Array]:
    """x (items, longest, 40) float32 with zeros behind the end, and lengths."""
    lengths = np.array(list(map(len, items)))
    x = np.zeros((len(items), lengths.max(), BINS), np.float32)
    for row, frames in zip(x, items, strict=True):
        row[: len(frames)] = frames
    return {"x": x, "lengths": lengths}


def encode(path: Path, rate: int, data: Prepared) -> Array:
    """A person's recording as the model reads it: (frames, 40) float32. InputError."""
    if not path.is_file():
        raise InputError("the file is missing", str(path), "give the path of a wav file")
    frames = log_mel(read_wav(path.read_bytes(), str(path), rate), rate)
    return scaled(frames, {name: data.array(name) for name in ("mel.mean", "mel.deviation")})


def pooled(frames: Array) -> Array:
    """Frames without their order, but for thirds: (161,) means of each third, deviation, log of the length."""
    thirds = [part.mean(0) if len(part) else frames.mean(0) for part in np.array_split(frames, 3)]
    return np.concatenate([*thirds, frames.std(0), [np.log(len(frames))]])


def features(split: Mapping[str, Array]) -> Array:
    """`pooled` of every item of a split: (items, 161)."""
    return np.stack([pooled(x[:length]) for x, length in zip(split["x"], split["lengths"], strict=True)])
