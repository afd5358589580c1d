"""Notes as text, as a MIDI file and as sound. A piece is a list of steps, a step the MIDI pitches that sound in it.

A step lasts so many seconds at 120 quarter notes a minute: a quarter note 0.5, an eighth 0.25.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqbench.errors import InputError

Steps = list[list[int]]
Span = tuple[int, float, float]
"""Of a note: its pitch, where it begins, where it ends."""

LOWEST, HIGHEST = 21, 108
"""MIDI pitches of the 88 keys of a piano, A0 and C8."""
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
SILENCE = "-"
QUARTER = 0.5
"""Seconds of a quarter note."""
TICKS = 480
"""Of a MIDI file that is written, in a quarter note."""
PERCUSSION = 9
"""The MIDI channel whose notes have no pitch (the tenth)."""
LATE = 1 / 8
"""A step of a file that is read holds what sounds this share of a step after its beginning: players are not exact."""
LONGEST = 10_000
"""Steps of a piece that is read, at most."""
RATE = 16_000
"""Samples a second of the sound."""
OVERTONES = (1.0, 0.5, 0.25, 0.12)
"""Amplitudes of a tone's first partials."""
DECAY = 1.5
"""A tone fades as exp(-DECAY * seconds), as that of a struck string."""
FADE = 0.01
"""Seconds in which a tone comes and goes: a sudden one would click."""


# ---------------------------------------------------------------- text


def as_text(steps: Sequence[Sequence[int]]) -> str:
    """Pitch names, lowest first, steps divided by bars: `C4 E4 G4 | - | C4`; C4 is MIDI pitch 60."""
    return " | ".join(" ".join(map(_name, sorted(step))) or SILENCE for step in steps)


def _name(pitch: int) -> str:
    return f"{NAMES[pitch % 12]}{pitch // 12 - 1}"


def from_text(text: str) -> Steps:
    """The steps of `as_text`."""
    return [[_pitch(name) for name in step.split() if name != SILENCE] for step in text.split("|")] if text else []


def _pitch(name: str) -> int:
    letters = name.rstrip("-0123456789")
    return NAMES.index(letters) + 12 * (int(name.removeprefix(letters)) + 1)


# ---------------------------------------------------------------- MIDI


def notes(steps: Sequence[Sequence[int]]) -> Iterator[tuple[int, int, int]]:
    """(pitch, first step, step after the last): a pitch in steps that follow each other is one long note."""
    began: dict[int, int] = {}
    for place, step in enumerate([*steps, []]):
        for pitch in sorted(set(began) - set(step)):
            yield pitch, began.pop(pitch), place
        began |= {pitch: place for pitch in step if pitch not in began}


def midi(steps: Sequence[Sequence[int]], seconds: float) -> bytes:
    """A MIDI file (type 0) of one track."""
    import mido  # here: planning and training have no use for it

    ticks = TICKS * seconds / QUARTER
    events = [
        event
        for pitch, start, stop in notes(steps)
        for event in ((round(stop * ticks), "note_off", pitch), (round(start * ticks), "note_on", pitch))
    ]
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=round(QUARTER * 1e6))])
    now = 0
    for time, kind, pitch in sorted(events):  # by name: at equal times notes end before others begin
        track.append(mido.Message(kind, note=pitch, velocity=64, time=time - now))
        now = time
    track.append(mido.MetaMessage("end_of_track", time=round(len(steps) * ticks) - now))
    file, content = mido.MidiFile(type=0, ticks_per_beat=TICKS, tracks=[track]), io.BytesIO()
    file.save(file=content)
    return content.getvalue()


def from_midi(path: Path, seconds: float, lowest: int = LOWEST, highest: int = HIGHEST) -> Steps:
    """The piano's notes in a MIDI file, by its beats, whatever its tempo; percussion is left out.

    A step holds what sounds at its beginning, as in the data of both tasks of music: shorter notes
    between two steps are passed over. So is silence after the last note. Raises InputError, also above `highest`.
    """
    spans = list(_spans(path))
    for pitch, start, _ in spans:
        if not lowest <= pitch <= highest:
            what = f"pitch {pitch} is not among those that can be read, {lowest} to {highest}"
            raise InputError(what, f"{path}, quarter note {start + 1:.2f}", "transpose it, or leave that note out")
    return _sampled(spans, seconds / QUARTER, path)


def _spans(path: Path) -> Iterator[Span]:
    """Notes of a MIDI file, in quarter notes from its start."""
    import mido

    try:
        file = mido.MidiFile(path)
    except FileNotFoundError:
        raise InputError("the file is missing", str(path), "give the path of a MIDI file") from None
    except MemoryError:
        raise
    except Exception as error:  # of damaged files mido says so in many ways, from EOFError to KeySignatureError
        what = " ".join(str(error).split()) or "it ends too early"
        raise InputError(f"not a MIDI file ({what})", str(path), "give a standard MIDI file (.mid)") from None
    if file.type == 2:
        raise InputError(
            "a MIDI file of type 2: its tracks are pieces of their own", str(path), "save it as type 0 or 1"
        )
    if file.ticks_per_beat < 1:
        raise InputError("its times are not in beats", str(path), "save it with ticks for each quarter note")
    for track in file.tracks:  # each alone: two voices on one channel may meet on a pitch
        yield from _paired(track, file.ticks_per_beat)


def _paired(messages: Iterable[Any], ticks: int) -> Iterator[Span]:
    """The notes of a track. A note ends at the next message of its channel and pitch, or else where the track does."""
    began: dict[tuple[int, int], float] = {}
    now = 0.0
    for message in messages:
        now += message.time / ticks
        if message.type not in ("note_on", "note_off") or message.channel == PERCUSSION:
            continue
        key = message.channel, message.note
        if key in began:
            yield message.note, began.pop(key), now
        if message.type == "note_on" and message.velocity:
            began[key] = now
    yield from ((pitch, start, now) for (_, pitch), start in began.items())


def _sampled(spans: Iterable[Span], step: float, path: Path) -> Steps:
    """What sounds in each step; spans and the step are in quarter notes."""
    heard = [(pitch, _after(start, step), _after(stop, step)) for pitch, start, stop in spans]
    count = max((last for _, first, last in heard if first < last), default=0)
    if not count:
        raise InputError("no note sounds at the beginning of a step", str(path), "give a MIDI file with notes")
    if count > LONGEST:
        raise InputError(f"a piece of {count} steps, {LONGEST} at most are read", str(path), "give a part of it")
    steps: list[set[int]] = [set() for _ in range(count)]
    for pitch, first, last in heard:
        for place in range(first, last):
            steps[place].add(pitch)
    return [sorted(sounding) for sounding in steps]


def _after(time: float, step: float) -> int:
    """The first step that is looked at no earlier than this."""
    return math.ceil(time / step - LATE)


# ---------------------------------------------------------------- sound


def wave(steps: Sequence[Sequence[int]], seconds: float) -> NDArray[np.float64]:
    """The piece as samples in [-1, 1], `RATE` a second: tones with overtones."""
    samples = np.zeros(max(round(len(steps) * seconds * RATE), 1))
    for pitch, first, last in notes(steps):
        start, stop = round(first * seconds * RATE), round(last * seconds * RATE)
        samples[start:stop] += _tone(440.0 * 2 ** ((pitch - 69) / 12), stop - start)
    loudest = np.abs(samples).max()
    return samples / loudest * 0.8 if loudest else samples


def _tone(frequency: float, length: int) -> NDArray[np.float64]:
    time = np.arange(length) / RATE
    partials = enumerate(OVERTONES, start=1)
    tone = sum(size * np.sin(2 * np.pi * n * frequency * time) for n, size in partials if n * frequency < RATE / 2)
    edges = np.minimum(np.minimum(time, time[::-1]) / FADE, 1.0)
    found: NDArray[np.float64] = tone * np.exp(-DECAY * time) * edges
    return found


def sound(steps: Sequence[Sequence[int]], seconds: float) -> bytes:
    """The piece as an MP3 file: mono, 1.5 kB a second for one voice, 3 kB for four."""
    import soundfile  # here: planning and training have no use for it

    content = io.BytesIO()
    samples = wave(steps, seconds)
    soundfile.write(content, samples, RATE, format="MP3", bitrate_mode="VARIABLE", compression_level=0.9)
    return content.getvalue()
