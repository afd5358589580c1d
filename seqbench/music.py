"""Notes as text, as a MIDI file and as sound. A piece is a list of steps, a step the MIDI pitches that sound in it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqbench.errors import InputError

Steps = list[list[int]]

LOWEST, HIGHEST = 21, 108
"""MIDI pitches of the 88 keys of a piano, A0 and C8."""
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
SILENCE = "-"
TICKS = 480
"""Of a MIDI file, in a step."""
PERCUSSION = 9
"""The MIDI channel whose notes have no pitch (the tenth)."""
RATE = 16_000
"""Samples a second of the sound."""
OVERTONES = (1.0, 0.5, 0.25, 0.12)
"""Amplitudes of a tone's first partials."""
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
    """A MIDI file (type 0) of one track, steps of so many seconds."""
    import mido  # here: planning and training have no use for it

    events = [
        event
        for pitch, start, stop in notes(steps)
        for event in ((stop * TICKS, "note_off", pitch), (start * TICKS, "note_on", pitch))
    ]
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=round(seconds * 1e6))])
    now = 0
    for time, kind, pitch in sorted(events):  # by name: at equal times notes end before others begin
        track.append(mido.Message(kind, note=pitch, velocity=64, time=time - now))
        now = time
    track.append(mido.MetaMessage("end_of_track", time=len(steps) * TICKS - now))
    file, content = mido.MidiFile(type=0, ticks_per_beat=TICKS, tracks=[track]), io.BytesIO()
    file.save(file=content)
    return content.getvalue()


def from_midi(path: Path, seconds: float) -> Steps:
    """The piano's notes in a MIDI file, its tempo kept, in steps of so many seconds; percussion is left out.

    A note begins and ends at the nearest step, and lasts one at least. Raises InputError.
    """
    import mido

    found: list[tuple[int, float, float]] = []
    began: dict[tuple[int, int], float] = {}
    now = 0.0
    try:
        for message in mido.MidiFile(path):
            now += message.time
            if message.type not in ("note_on", "note_off") or message.channel == PERCUSSION:
                continue
            key = message.channel, message.note
            if key in began:
                found.append((message.note, began.pop(key), now))
            if message.type == "note_on" and message.velocity:
                began[key] = now
    except FileNotFoundError:
        raise InputError("the file is missing", str(path), "give the path of a MIDI file") from None
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
        what = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"not a MIDI file ({what})", str(path), "give a standard MIDI file (.mid)") from None
    found += [(pitch, start, now) for (_, pitch), start in began.items()]
    return _in_steps(found, seconds, path)


def _in_steps(found: list[tuple[int, float, float]], seconds: float, path: Path) -> Steps:
    if not found:
        raise InputError("the file has no notes", str(path), "give a MIDI file with notes")
    for pitch, start, _ in found:
        if not LOWEST <= pitch <= HIGHEST:
            what = f"pitch {pitch} at {start:.2f} s is not on a piano"
            raise InputError(what, str(path), f"transpose it: {LOWEST} to {HIGHEST}")
    spans = []
    for pitch, start, stop in found:
        first = round(start / seconds)
        spans.append((pitch, first, max(round(stop / seconds), first + 1)))
    steps: list[set[int]] = [set() for _ in range(max(last for _, _, last in spans))]
    for pitch, first, last in spans:
        for step in steps[first:last]:
            step.add(pitch)
    return [sorted(step) for step in steps]


# ---------------------------------------------------------------- sound


def wave(steps: Sequence[Sequence[int]], seconds: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The piece as samples in [-1, 1], `RATE` a second: tones with overtones that fade as a struck string's."""
    samples = np.zeros(max(round(len(steps) * seconds * RATE), 1))
    for pitch, first, last in notes(steps):
        start, stop = round(first * seconds * RATE), round(last * seconds * RATE)
        samples[start:stop] += _tone(440.0 * 2 ** ((pitch - 69) / 12), stop - start)
    loudest = np.abs(samples).max()
    return samples / loudest * 0.8 if loudest else samples


def _tone(frequency: float, length: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    time = np.arange(length) / RATE
    partials = enumerate(OVERTONES, start=1)
    tone = sum(size * np.sin(2 * np.pi * n * frequency * time) for n, size in partials if n * frequency < RATE / 2)
    edges = np.minimum(time, time[::-1] if length else time) / FADE
    found: np.ndarray[Any, np.dtype[np.float64]] = tone * np.exp(-1.5 * time) * np.minimum(edges, 1.0)
    return found


def sound(steps: Sequence[Sequence[int]], seconds: float) -> bytes:
    """The piece as an MP3 file: mono, about 1.5 kB a second."""
    import soundfile  # here: planning and training have no use for it

    content = io.BytesIO()
    samples = wave(steps, seconds)
    soundfile.write(content, samples, RATE, format="MP3", bitrate_mode="VARIABLE", compression_level=0.9)
    return content.getvalue()
