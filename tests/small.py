"""Small settings of every task, small raw files in the formats of the real ones, and what is made of them."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from seqbench import prepared, tasks
from seqbench.prepared import Array, Prepared
from seqbench.tasks import _speech, imdb, multi30k, nottingham, speech_commands
from seqbench.tasks._music import roll

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
    "stocks": {"look_back": 5, "valid_from": "2006-05-01", "test_from": "2006-06-15"},
    "series": {
        "name": "power",
        "file": "series.csv",
        "time": "date",
        "target": ["load"],
        "inputs": ["load", "warmth"],
        "look_back": 24,
        "horizon": 6,
        "valid_from": "2017-01-11",
        "test_from": "2017-01-14",
    },
    "imdb": {"minimum_count": 1, "valid": 4, "embedding": 8},
    "sst2": {"minimum_count": 1, "embedding": 8},
    "shakespeare": {"length": 16, "embedding": 8},
    "ptb": {"length": 8, "embedding": 8, "dropout": 0.0},
    "jsb": {},
    "nottingham": {},
    "multi30k": {"vocabulary": 60, "length": 30, "train": 40, "embedding": 8, "dropout": 0.0},
    "fsdd": {},
    "fsdd_strings": {"train": 60, "valid": 8, "test": 12, "shortest": 1, "longest": 3},
    "speech_commands": {},
    "scfd": {"clips": 8, "size": 16, "colour": False},
    "ucf101": {"size": 16, "seconds": 1.0},
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


def stock_lines() -> list[str]:
    """A header and 150 week days of three tickers; of BBB one is missing, one without trade, one without a low."""
    random, lines = np.random.default_rng(8), ["Date,Open,High,Low,Close,Volume,Name"]
    days = [day for day in (date(2006, 1, 2) + timedelta(n) for n in range(210)) if day.weekday() < 5]
    for name, start in (("AAA", 20.0), ("BBB", 80.0), ("CCC", 300.0)):
        close = start * np.exp(0.01 * random.standard_normal(len(days)).cumsum())
        spread = start * np.abs(0.01 * random.standard_normal((2, len(days))))
        high, low = close + spread[0], close - spread[1]
        table = np.stack([low + (high - low) * random.uniform(size=len(days)), high, low, close], axis=1)
        volume = random.integers(1000, 9000, len(days))
        found = zip(days, table.tolist(), volume.tolist(), strict=True)
        rows = [f"{day},{','.join(f'{price:.4f}' for price in row)},{count},{name}" for day, row, count in found]
        if name == "BBB":
            rows[60] = f"{days[60]},,,,{close[59]:.4f},0,BBB"
            rows[80] = f"{days[80]},{close[80]:.4f},{close[80]:.4f},,{close[80]:.4f},5000,BBB"
            del rows[30]
        lines += rows
    return lines


def series_lines() -> list[str]:
    """A header and 384 hours of two columns: a daily wave, and the same an hour ahead, both with a little noise."""
    random, hours = np.random.default_rng(9), np.arange(385)
    wave = np.sin(2 * np.pi * hours / 24)
    table = np.stack([100 + 20 * wave[:-1], 15 + 5 * wave[1:]], axis=1) + 0.1 * random.standard_normal((384, 2))
    start = datetime(2017, 1, 1)
    rows = [
        f"{start + timedelta(hours=hour)},{load!r},{warmth!r}" for hour, (load, warmth) in enumerate(table.tolist())
    ]
    return ["date,load,warmth", *rows]


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


Pieces = Mapping[str, list[list[list[int]]]]
"""MIDI pitches of each step of each piece of each split."""


def chorales() -> Pieces:
    """19 pieces of 6 to 11 chords, each on the root of the one before or higher; one step in each split is silent."""
    random = np.random.default_rng(6)
    made: dict[str, list[list[list[int]]]] = {"train": [], "valid": [], "test": []}
    for split, pieces in (("train", 12), ("valid", 3), ("test", 4)):
        for _ in range(pieces):
            roots = 48 + random.integers(3, size=random.integers(6, 12)).cumsum()
            made[split].append([[root, root + 4, root + 7] for root in roots.tolist()])
        made[split][0][2] = []
    return made


def mat(pieces: Pieces) -> bytes:
    """Piano rolls as a MATLAB file."""
    cells = {}
    for split, name in nottingham.PARTS.items():
        cells[name] = np.empty((1, len(pieces[split])), object)
        for number, steps in enumerate(pieces[split]):
            cells[name][0, number] = roll(steps)
    buffer = io.BytesIO()
    savemat(buffer, cells, do_compression=True)
    return buffer.getvalue()


def music_files() -> dict[str, bytes]:
    return {"jsb-quarter": json.dumps(chorales()).encode(), "nottingham": mat(chorales())}


def wav(wave: Array, rate: int) -> bytes:
    """A wav file of 16 bits; wave (samples,), or (samples, channels)."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def tone(number: int, seconds: float, rate: int, random: np.random.Generator) -> bytes:
    """A tone of 150 Hz and 60 Hz more for each `number`, of a length and loudness of its own, in noise."""
    time = np.arange(round(seconds * rate * random.uniform(0.8, 1))) / rate
    wave = np.sin(2 * np.pi * (150 + 60 * number) * time + random.uniform(0, 6))
    return wav((wave + 0.1 * random.standard_normal(len(time))) * random.uniform(0.05, 0.5), rate)


def digit_recordings() -> dict[str, bytes]:
    """All 3000 recordings of FSDD by path, each digit a tone."""
    random = np.random.default_rng(6)
    names = itertools.product(range(10), _speech.SPEAKERS, range(_speech.TAKES))
    return {f"recordings/{digit}_{who}_{take}.wav": tone(digit, 0.12, 8000, random) for digit, who, take in names}


def packed(members: Mapping[str, bytes]) -> bytes:
    """A zip of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def word_recordings() -> dict[str, bytes]:
    """The archive of Speech Commands with six recordings of each word: four of train, one of valid, one of test."""
    random, made = np.random.default_rng(7), {"./README.md": b"# Speech Commands"}
    lists: dict[str, list[str]] = {"validation_list.txt": [], "testing_list.txt": []}
    for number, word in enumerate(speech_commands.WORDS):
        for speaker in range(6):
            name = f"{word}/{speaker:08x}_nohash_{number % 3}.wav"
            made[f"./{name}"] = tone(number, 0.2, 16000, random)
            if speaker > 3:
                lists[["validation_list.txt", "testing_list.txt"][speaker - 4]].append(name)
    made["./_background_noise_/pink_noise.wav"] = tone(0, 3.0, 16000, random)
    return made | {f"./{name}": "".join(f"{line}\n" for line in lines).encode() for name, lines in lists.items()}


def film(pictures: Sequence[Array], rate: int, kind: str = "mp4") -> bytes:
    """A video file of pictures (height, width, 3) uint8: H.264 in mp4, MPEG-4 in avi."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as file:
        stream = file.add_stream({"mp4": "libx264", "avi": "mpeg4"}[kind], rate=rate)
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], "yuv420p"
        stream.bit_rate = 4_000_000
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    return buffer.getvalue()


def moving(
    speed: float, rate: int, height: int, width: int, seconds: float, random: np.random.Generator
) -> list[Array]:
    """A white square that goes to and fro, `speed` times a second, before a background of its own."""
    place = np.linspace(*random.integers(20, 120, size=2), height)[:, None, None] * random.uniform(0.5, 1, size=3)
    background = np.broadcast_to(place, (height, width, 3)).astype(np.uint8)
    pictures = []
    for time in np.arange(round(seconds * rate)) / rate:
        left = round((width - height // 2) * (0.5 + 0.5 * np.sin(2 * np.pi * speed * time)))
        pictures.append(background.copy())
        pictures[-1][height // 4 : 3 * height // 4, left : left + height // 2] = 250
    return pictures


CLIP_TABLE = "path,sha256,bytes,scene,frames,fps,width,height"


def fight_clips() -> dict[str, bytes]:
    """The archive of SCFD with eight clips of each class: fights move fast, and their files have a form of their own.

    Scene groups: 0 has fights 1 and 2, 1 has fight 3 and no fight 1, all others have a clip each.
    """
    random, made, table = np.random.default_rng(8), dict[str, bytes](), [CLIP_TABLE]
    for folder, short, speed, rate, height, width in (
        ("fight", "fi", 2.0, 25, 48, 64),
        ("noFight", "nofi", 0.1, 20, 36, 64),
    ):
        for number in range(1, 9):
            scene = {"fi1": 0, "fi2": 0, "fi3": 1, "nofi1": 1}.get(f"{short}{number}", 10 * number + len(short))
            name, seconds = f"{folder}/{short}{number:03}.mp4", 1.6 + 0.1 * (number % 4)
            pictures = moving(speed, rate, height, width, seconds, random)
            made[name] = film(pictures, rate)
            table.append(f"{name},-,{len(made[name])},{scene},{len(pictures)},{rate},{width},{height}")
    return {"members.csv": "".join(f"{line}\n" for line in table).encode()} | made


ACTIONS = {"Archery": 0.3, "HandstandPushups": 1.0, "YoYo": 3.0}
"""How fast each moves."""


def action_clips() -> dict[str, bytes]:
    """The archive of UCF101 with three classes of eight groups, a clip in each."""
    random, made = np.random.default_rng(9), dict[str, bytes]()
    for action, speed in ACTIONS.items():
        for group in range(1, 9):
            name = f"v_{action.replace('Handstand', 'HandStand')}_g{group:02}_c01.avi"
            made[f"UCF101/{name}"] = film(moving(speed, 25, 48, 64, 1.2, random), 25, "avi")
    return made


def action_lists() -> dict[str, bytes]:
    """The official lists: groups 1 and 2 are the test of fold 1, 3 and 4 that of fold 2, 5 and 6 that of fold 3."""
    made = {"classInd.txt": [f"{number} {action}" for number, action in enumerate(ACTIONS, start=1)]}
    names = [name.split("/")[1] for name in action_clips()]
    for fold in (1, 2, 3):
        lines: dict[str, list[str]] = {"test": [], "train": []}
        for name in names:
            action, group = name.split("_")[1].replace("HandStand", "Handstand"), int(name.split("_")[2][1:])
            part = "test" if (group + 1) // 2 == fold else "train"
            number = f" {[*ACTIONS].index(action) + 1}" if part == "train" else ""
            lines[part].append(f"{action}/{name}{number}")
        made |= {f"{part}list{fold:02}.txt": those for part, those in lines.items()}
    return {f"ucfTrainTestlist/{name}": "\r\n".join([*those, ""]).encode() for name, those in made.items()}


def contents() -> dict[str, bytes]:
    """Raw files by source name."""
    made = mnist_files() | {"etth1": "\n".join([*ett_lines(), ""]).encode()}
    made |= language_files() | translation_files() | music_files() | {"imdb": tar(REVIEWS)}
    made |= {"fsdd": packed(digit_recordings()), "speech-commands": tar(word_recordings())}
    made |= {"scfd": packed(fight_clips()), "ucf101": packed(action_clips()), "ucf101-splits": packed(action_lists())}
    made |= {
        name: "\n".join([*lines, ""]).encode()
        for name, lines in (("stocks", stock_lines()), ("series.csv", series_lines()))
    }
    return made | {f"sst2-{split}": "\n".join([*lines, ""]).encode() for split, lines in SENTENCES.items()}


def small(name: str, **changes: Any) -> tasks.Base:
    return tasks.build(name, SMALL[name] | changes)


def write(name: str, settings: dict[str, Any], raw: Raw, root: Path) -> Prepared:
    job = tasks.build(name, settings)
    arrays, defects = job.arrays({name: raw[name] for name in (*job.sources(), *map(str, job.own_files()))})
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
