"""Small settings of every task, small raw files in the formats of the real ones, and what is made of them."""

from __future__ import annotations

import gzip
import io
import itertools
import tarfile
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from seqbench import prepared, tasks
from seqbench.prepared import Array, Prepared
from seqbench.tasks import imdb, multi30k

Raw = Mapping[str, Path]
"""Small raw files by source name."""
Real = Callable[[str], Raw]
"""The real ones of a task, of the fixture `real`."""

SMALL: dict[str, dict[str, Any]] = {
    "adding": {"length": 21, "train": 300, "valid": 50, "test": 1000},
    "copy_memory": {"delay": 7, "train": 300, "valid": 50, "test": 1000},
    "parity": {"length": 12, "test_length": 40, "train": 300, "valid": 50, "test": 1000},
    "recall": {"pairs": 4, "length": 32, "vocabulary": 32, "train": 300, "valid": 50, "test": 1000},
    "selective_copy": {"length": 12, "symbols": 3, "classes": 5, "train": 300, "valid": 50, "test": 1000},
    "digits": {},
    "smnist": {"valid": 30},
    "psmnist": {"valid": 30, "pool": 2},
    "etth1": {"look_back": 24, "stride": 5},
    "imdb": {"minimum_count": 1, "valid": 4, "embedding": 8},
    "sst2": {"minimum_count": 1, "embedding": 8},
    "shakespeare": {"length": 16, "embedding": 8},
    "ptb": {"length": 8, "embedding": 8, "dropout": 0.0},
    "multi30k": {"vocabulary": 60, "length": 30, "train": 40, "embedding": 8, "dropout": 0.0},
}


def idx(values: Array) -> bytes:
    """A gzipped IDX file of bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return gzip.compress(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes(), mtime=0)


def mnist_files() -> dict[str, bytes]:
    random = np.random.default_rng(1)
    made = {}
    for part, items in (("train", 130), ("test", 40)):
        made[f"mnist-{part}-images"] = idx(random.integers(256, size=(items, 28, 28), dtype=np.uint8))
        made[f"mnist-{part}-labels"] = idx(np.arange(items, dtype=np.uint8) % 10)
    return made


def ett_lines() -> list[str]:
    """A header and 14420 hours: daily waves with a little noise, every channel on a scale of its own."""
    random, hours = np.random.default_rng(2), np.arange(14420)
    wave = np.sin(2 * np.pi * (hours[:, None] / 24 + np.arange(7) / 7))
    table = (wave + 0.01 * random.standard_normal(wave.shape)) * np.arange(1, 8) + 5
    start = datetime(2016, 7, 1)
    rows = (f"{start + timedelta(hours=hour)}," + ",".join(map(repr, row)) for hour, row in enumerate(table.tolist()))
    return ["date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT", *rows]


SENTENCES = {
    "train": ["1 a good film", "0 a bad film", "1 a good film", "0 dull", "1 seen in test", "1 great , great fun"],
    "valid": ["1 good fun", "0 a bore of a film"],
    "test": ["1 seen in test", "0 bad , bad film", "1 crème brûlée"],
}


def tar(members: Mapping[str, bytes], *more: tarfile.TarInfo) -> bytes:
    """A .tar.gz of these files, and of members without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
        for member in more:
            file.addfile(member)
    return buffer.getvalue()


def reviews() -> dict[str, bytes]:
    """16 reviews in each folder of IMDb, by path; no two alike."""
    moods = {"neg": ("bad", "dull", "awful", "silly"), "pos": ("good", "great", "fine", "funny")}
    parts = ("plot", "acting", "music", "ending"), ("Really", "So", "Not")
    made = {}
    for label, words in moods.items():
        texts = [f"{how} {word}!<br /><br />The {part} is." for part, how, word in itertools.product(*parts, words)]
        texts = [texts[row] for row in np.random.default_rng(5).permutation(len(texts))]
        for number, (folder, stars) in enumerate(itertools.product(("train", "test"), range(16))):
            rating = 1 + stars % 4 + 6 * (label == "pos")
            made[f"aclImdb/{folder}/{label}/{stars}_{rating}.txt"] = texts[number].encode()
    return made


REVIEWS = reviews()
imdb.DIGESTS.add(imdb.digest(REVIEWS))  # taken for the data set, as the real ones are


WORDS = ("the", "king", "<unk>", "is", "N", "'s", "dead", "said")


def running_text(lines: int, seed: int) -> str:
    """Lines of six words; each word goes on with one of the two after it."""
    steps = np.random.default_rng(seed).integers(1, 3, size=(lines, 6)).cumsum(axis=1)
    return "".join(" " + " ".join(WORDS[step % len(WORDS)] for step in line) + " \n" for line in steps)


def language_files() -> dict[str, bytes]:
    made = {"tiny-shakespeare": running_text(80, 3)}
    made |= {f"ptb-{split}": running_text(lines, lines) for split, lines in (("train", 60), ("valid", 9), ("test", 12))}
    return {name: text.encode() for name, text in made.items()}


PHRASES = (
    {"Ein Mann": "A man", "Eine Frau": "A woman", "Ein Hund": "A dog", "Zwei Mädchen": "Two girls"},
    {"läuft": "runs", "schläft": "sleeps", "singt": "sings", "wartet": "waits"},
    {"im Park": "in the park", "am Strand": "at the beach", "auf der Straße": "on the street", "im Haus": "at home"},
)


def translation_files() -> dict[str, bytes]:
    """44 + 8 + 12 pairs of lines, no sentence twice; the three test sets alike."""
    choices = itertools.product(*(phrases.items() for phrases in PHRASES))
    pairs = [tuple(" ".join(side) + "." for side in zip(*choice, strict=True)) for choice in choices]
    order = np.random.default_rng(4).permutation(len(pairs))
    rows = {"train": order[:44], "val": order[44:52]} | {f"test_{name}": order[52:] for name in multi30k.TESTS}
    return {
        f"multi30k-{part}-{side}": gzip.compress("".join(f"{pairs[row][i]}\n" for row in of_part).encode(), mtime=0)
        for part, of_part in rows.items()
        for i, side in enumerate(multi30k.SIDES)
    }


def contents() -> dict[str, bytes]:
    """Raw files by source name."""
    made = mnist_files() | {"etth1": "\n".join([*ett_lines(), ""]).encode()}
    made |= language_files() | translation_files() | {"imdb": tar(REVIEWS)}
    return made | {f"sst2-{split}": "\n".join([*lines, ""]).encode() for split, lines in SENTENCES.items()}


def small(name: str, **changes: Any) -> tasks.Base:
    return tasks.build(name, SMALL[name] | changes)


def write(name: str, settings: dict[str, Any], raw: Raw, root: Path) -> Prepared:
    job = tasks.build(name, settings)
    arrays, defects = job.arrays({source: raw[source] for source in job.sources()})
    folder = root / name
    plain = job.settings.plain()
    prepared.write(
        folder,
        task=name,
        settings=plain,
        version=job.VERSION,
        spec=job.spec(arrays),
        arrays=arrays,
        defects=defects,
        sources={},
    )
    return Prepared(folder)


def control(name: str, data: Prepared) -> dict[str, dict[str, float]]:
    found = tasks.build(name, data.manifest.settings).controls(data)
    return {one.kind: one.metrics for one in found}
