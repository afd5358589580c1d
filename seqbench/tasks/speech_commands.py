"""Speech Commands: which of 35 words was spoken (Warden 2018, version 0.02).

Source: the official archive (2.4 GB, CC BY 4.0), read as a stream, never unpacked: first for its names and lists,
then for the recordings. One word by many people, 16 kHz, one second. Split as published, by the archive's
`validation_list.txt` and `testing_list.txt`; all other recordings are for training. The lists are made to keep each
speaker in one split, and the data's notes count the speakers that are in two. Input: 40 log-mel bands every 10 ms of
each recording brought to no offset and one loudness, each band standardised by the training split.

Score: accuracy over 35 words. Published: 0.977 (Keyword Transformer, Berg et al. 2021, abstract), with augmented
training recordings; scores on 12 classes (ten words, "unknown", silence) are another task.

Defects, with counts in the data's notes: recordings shorter than a second are kept as they are; of longer ones
the first second is taken. A recording without sound is kept as silence, and one shorter than a window is filled up
with it, so that the official test split stays whole. The long recordings in `_background_noise_` are left out.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from seqbench.errors import DataError, InputError
from seqbench.prepared import SPLITS, Array
from seqbench.tasks import _speech as speech
from seqbench.tasks._common import bad_member

# fmt: off
WORDS = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go", "happy",
    "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila", "six", "stop",
    "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)
# fmt: on
RATE = 16000
SHORTEST = round(speech.WINDOW * RATE)
LENGTH = 1 + (RATE - SHORTEST) // round(speech.HOP * RATE)
"""Frames of a second."""
LISTS = {"validation_list.txt": "valid", "testing_list.txt": "test"}
LARGEST = 1 << 22
"""Bytes of a recording or list, at most; those that are known have some 32 kB and some 300 kB."""
CHUNK = 1024
"""Recordings that are standardised at once."""
KINDS = {
    "short": "last less than a second: kept as they are",
    "long": "last more than a second: the first second is taken",
    "tiny": "are shorter than a window: filled up with silence",
    "silent": "hold no sound: kept as silence",
}
"""What a recording may be that it should not, and what is done about it."""


def members(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Name of each list and recording of the archive, in its order, and what reads it before the next is asked for.

    Raises DataError where the archive is cut or damaged, or a recording is not among the words.
    """
    try:
        with gzip.open(path) as file, tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                folder, _, _ = name.rpartition("/")
                if name not in LISTS and (not name.endswith(".wav") or folder == "_background_noise_"):
                    continue
                if name not in LISTS and folder not in WORDS:
                    raise bad_member("a recording in a folder that is none of the words", path, name)
                content = archive.extractfile(member) if member.isreg() and member.size <= LARGEST else None
                if content is None:
                    raise bad_member("a link, or far too long", path, name)
                yield name, content.read
            while file.read(LARGEST):  # to the end, where gzip has a checksum: tarfile takes damage for the end
                pass
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        fix = f"delete {path.name} and fetch it again: seqbench fetch speech-commands"
        raise DataError(f"not a whole .tar.gz archive ({error})", str(path), fix) from None


def read_splits(path: Path) -> dict[str, list[str]]:
    """Names of the recordings of each split, sorted. DataError names the line of a list, or what is missing."""
    names: list[str] = []
    lists: dict[str, str] = {}
    for name, read in members(path):
        if name in LISTS:
            lists[name] = read().decode("utf-8", errors="replace")
        else:
            names.append(name)
    split_of = dict.fromkeys(names, "train")
    if len(split_of) < len(names):
        raise bad_member("a recording stands twice in the archive", path, Counter(names).most_common(1)[0][0])
    for listed, split in LISTS.items():
        if listed not in lists:
            raise bad_member("the list is missing", path, listed)
        for number, name in enumerate(lists[listed].splitlines(), start=1):
            if split_of.get(name) != "train":
                what = f"'{name[:80]}' is in two lists" if name in split_of else f"no recording '{name[:80]}'"
                raise bad_member(what, path, f"{listed}, line {number}")
            split_of[name] = split
    splits = {split: sorted(name for name in split_of if split_of[name] == split) for split in SPLITS}
    for split, found in splits.items():
        if not found:
            raise bad_member(f"no recording for {split}", path, "*.wav")
    return splits


class Task(speech.Words):
    """x (recordings, 98, 40) float16, zeros behind the end; y (recordings,) int64; lengths (recordings,) int64."""

    SOURCES = ("speech-commands",)
    TITLE = "Speech Commands, 35 words"
    RATE = RATE
    LABELS = WORDS

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Frames of each recording, each split by name."""
        path = raw["speech-commands"]
        splits = read_splits(path)
        place = {name: (split, row) for split in SPLITS for row, name in enumerate(splits[split])}
        arrays: dict[str, Array] = {}
        for split, names in splits.items():
            arrays[f"{split}.x"] = np.zeros((len(names), LENGTH, speech.BINS), np.float16)
            arrays[f"{split}.lengths"] = np.zeros(len(names), np.int64)
            arrays[f"{split}.y"] = np.array([WORDS.index(name.split("/")[0]) for name in names])
        counts: Counter[str] = Counter()
        for name, read in members(path):
            if name in LISTS:
                continue
            try:
                wave, kinds = mended(speech.samples(read(), name, RATE))
            except InputError as error:
                raise bad_member(error.what, path, name) from None
            counts.update(kinds)
            split, row = place[name]
            frames = speech.log_mel(wave, RATE)
            arrays[f"{split}.x"][row, : len(frames)], arrays[f"{split}.lengths"][row] = frames, len(frames)
        arrays |= standardise(arrays)
        return arrays, (
            *(f"{counts[kind]} recordings {what}" for kind, what in KINDS.items()),
            speech.LEVELLED,
            f"{speakers_in_two(splits)} speakers, as the names of the recordings have them, are in two splits",
        )


def mended(wave: Array) -> tuple[Array, list[str]]:
    """A recording as it is used, one window to one second, and the `KINDS` that it is of."""
    kinds = [kind for kind, true in (("short", len(wave) < RATE), ("long", len(wave) > RATE)) if true]
    wave = wave[:RATE]
    if not len(wave) or speech.silent(wave):
        kinds.append("silent")
        wave = np.zeros_like(wave)
    else:
        wave = speech.levelled(wave)
    if len(wave) < SHORTEST:
        kinds.append("tiny")
        wave = np.pad(wave, (0, SHORTEST - len(wave)))
    return wave, kinds


def standardise(arrays: dict[str, Array]) -> dict[str, Array]:
    """Bring each band of x, in place, to mean 0 and deviation 1 of the training split; returns both."""
    x, lengths = arrays["train.x"], arrays["train.lengths"]
    scale = speech.scaling(frames[:length] for frames, length in zip(x, lengths, strict=True))
    for split in SPLITS:
        x, lengths = arrays[f"{split}.x"], arrays[f"{split}.lengths"]
        for start in range(0, len(x), CHUNK):  # so that only a part of it is there twice
            some = slice(start, start + CHUNK)
            within = np.arange(LENGTH) < lengths[some, None]
            x[some] = np.where(within[..., None], speech.scaled(x[some], scale), 0)
    return scale


def speakers_in_two(splits: Mapping[str, Sequence[str]]) -> int:
    """How many speakers have recordings in more than one split: `WORD/SPEAKER_nohash_N.wav`."""
    heard = [{name.split("/")[1].split("_")[0] for name in names} for names in splits.values()]
    return sum(map(len, heard)) - len(set[str]().union(*heard))
