"""Notes as text, as MIDI files and as sound."""

from __future__ import annotations

import io
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from seqbench import music
from seqbench.errors import InputError

PIECE: music.Steps = [[60, 64], [60], [], [21, 108], [60], [60, 61], [67]]
TEXT = "C4 E4 | C4 | - | A0 C8 | C4 | C4 C#4 | G4"


# ---------------------------------------------------------------- text


def test_text_names_the_pitches() -> None:
    assert music.as_text([[64, 60], *PIECE[1:]]) == TEXT
    assert music.from_text(TEXT) == PIECE


def test_text_goes_both_ways_for_all_of_the_piano() -> None:
    every = [[pitch] for pitch in range(music.LOWEST, music.HIGHEST + 1)]
    assert music.from_text(music.as_text(every)) == every
    names = music.as_text(every).split(" | ")
    assert len(set(names)) == 88
    assert " ".join(names[39:51]) == "C4 C#4 D4 D#4 E4 F4 F#4 G4 G#4 A4 A#4 B4"
    for steps in ([], [[]], [[], []], [[69], []]):
        assert music.from_text(music.as_text(steps)) == steps


# ---------------------------------------------------------------- MIDI


def test_a_pitch_that_stays_is_one_note() -> None:
    expected = [(64, 0, 1), (60, 0, 2), (21, 3, 4), (108, 3, 4), (61, 5, 6), (60, 4, 6), (67, 6, 7)]
    assert sorted(music.notes(PIECE)) == sorted(expected)


@pytest.mark.parametrize(("seconds", "ticks"), [(0.5, 480), (0.25, 240)])
def test_midi_by_hand(seconds: float, ticks: int) -> None:
    file = mido.MidiFile(file=io.BytesIO(music.midi([[60, 64], [60], [], [60]], seconds)))
    (track,) = file.tracks
    events = [(m.type, m.note, m.time) for m in track if not m.is_meta]
    assert events == [
        ("note_on", 60, 0),
        ("note_on", 64, 0),
        ("note_off", 64, ticks),
        ("note_off", 60, ticks),
        ("note_on", 60, ticks),
        ("note_off", 60, ticks),
    ]
    assert (file.type, file.ticks_per_beat) == (0, 480)
    assert [m.tempo for m in track if m.type == "set_tempo"] == [500_000]  # 120 quarter notes a minute
    assert file.length == pytest.approx(4 * seconds)


@pytest.mark.parametrize("seconds", [0.5, 0.25, 0.125])
def test_what_was_written_is_read(seconds: float, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    piece = [np.flatnonzero(random.random(88) < 0.1) + 21 for _ in range(200)]
    for steps in (PIECE, [[], [], [60], [60]], [step.tolist() for step in piece]):
        (tmp_path / "a.mid").write_bytes(music.midi(steps, seconds))
        assert music.from_midi(tmp_path / "a.mid", seconds) == steps


def test_silence_at_the_end_is_not_read_but_lasts(tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(music.midi([[60], [], []], 0.5))
    assert mido.MidiFile(tmp_path / "a.mid").length == pytest.approx(1.5)
    assert music.from_midi(tmp_path / "a.mid", 0.5) == [[60]]


Note = tuple[int, float, float]


def file_of(path: Path, *tracks: list[Note], channel: int = 0, tempo: int | None = None, kind: int = 1) -> Path:
    """A file of tracks of (pitch, from, to) in quarter notes; track n has channel `channel` + n."""
    file = mido.MidiFile(type=kind, ticks_per_beat=96)
    for number, notes in enumerate(tracks):
        events = [(round(96 * at), on, pitch) for pitch, *ends in notes for at, on in zip(ends, (1, 0), strict=True)]
        track, now = mido.MidiTrack([mido.MetaMessage("track_name", name=f"Voice {number}")]), 0
        if tempo is not None:
            track.append(mido.MetaMessage("set_tempo", tempo=tempo))
        for time, on, pitch in sorted(events):  # an end is a note_on without velocity, as in many files
            message = mido.Message("note_on", note=pitch, velocity=90 * on, channel=channel + number, time=time - now)
            track.append(message)
            now = time
        file.tracks.append(track)
    file.save(path)
    return path


CHORALE = [(72, 0.0, 1.0), (71, 1.0, 1.5), (69, 1.5, 2.0), (67, 2.0, 4.0)]
"""The second step has two eighths, the last note two steps."""


def test_a_step_holds_what_sounds_at_its_beginning(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.mid", CHORALE, [(48, 0.0, 4.0)])
    assert music.from_midi(path, 0.5) == [[48, 72], [48, 71], [48, 67], [48, 67]]
    eighths = [[48, 72], [48, 72], [48, 71], [48, 69], *[[48, 67]] * 4]
    assert music.from_midi(path, 0.25) == eighths


def test_beats_count_and_not_the_tempo(tmp_path: Path) -> None:
    slow, fast = (file_of(tmp_path / f"{tempo}.mid", CHORALE, tempo=tempo) for tempo in (1_200_000, 300_000))
    assert music.from_midi(slow, 0.5) == music.from_midi(fast, 0.5) == [[72], [71], [67], [67]]


def test_a_player_need_not_be_exact(tmp_path: Path) -> None:
    played = [(72, 0.1, 0.9), (71, 1.08, 2.05), (67, 1.97, 2.6), (64, 3.4, 3.9)]  # the last one falls between two steps
    assert music.from_midi(file_of(tmp_path / "a.mid", played), 0.5) == [[72], [71], [67]]


def test_percussion_is_left_out(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.mid", [(60, 0.0, 1.0)], [(36, 0.0, 1.0), (38, 2.0, 3.0)], channel=8)
    assert music.from_midi(path, 0.5) == [[60]]


def test_two_voices_on_one_channel_may_meet_on_a_pitch(tmp_path: Path) -> None:
    file = mido.MidiFile(type=1, ticks_per_beat=1)
    for voice in (((64, 1), (60, 2), (72, 1)), ((60, 1), (55, 3))):  # C4 goes from the lower to the upper
        track = mido.MidiTrack()
        for pitch, beats in voice:
            track += [mido.Message("note_on", note=pitch), mido.Message("note_off", note=pitch, time=beats)]
        file.tracks.append(track)
    file.save(tmp_path / "a.mid")
    assert music.from_midi(tmp_path / "a.mid", 0.5) == [[60, 64], [55, 60], [55, 60], [55, 72]]


def test_a_note_without_an_end_lasts_to_the_end_of_its_track(tmp_path: Path) -> None:
    track = mido.MidiTrack(mido.Message("note_on", note=note, time=time) for note, time in ((60, 0), (64, 480)))
    track += [mido.Message("note_on", note=64, time=480), mido.Message("note_off", note=64, time=960)]
    mido.MidiFile(ticks_per_beat=480, tracks=[track]).save(tmp_path / "a.mid")
    assert music.from_midi(tmp_path / "a.mid", 0.5) == [[60], [60, 64], [60, 64], [60, 64]]


def test_what_is_no_midi_file_is_an_input_error(tmp_path: Path) -> None:
    whole = music.midi(PIECE, 0.5)
    bad_key = bytes.fromhex("4d546864 00000006 0000 0001 0060 4d54726b 0000000a 00ff59024002 00ff2f00")  # 64 sharps
    files = {"text": b"X:1\nK:C\nCDEF|", "nothing": b"", "half": whole[: len(whole) // 2], "key": bad_key}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"not a MIDI file \(.+\)") as error:
            music.from_midi(tmp_path / name, 0.5)
        assert error.value.where == str(tmp_path / name)
        assert ".mid" in error.value.fix
    with pytest.raises(InputError, match="missing"):
        music.from_midi(tmp_path / "no.mid", 0.5)


def test_damage_never_ends_in_a_traceback(tmp_path: Path) -> None:
    whole, random = music.midi(PIECE, 0.5), np.random.default_rng(2)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in random.integers(len(whole), size=2):
            damaged[place] = random.integers(256)
        (tmp_path / "a.mid").write_bytes(damaged)
        try:
            music.from_midi(tmp_path / "a.mid", 0.5)
        except InputError:
            refused += 1
    assert 50 < refused < 300


def test_files_that_cannot_be_steps_are_input_errors(tmp_path: Path) -> None:
    silent = file_of(tmp_path / "silent.mid", [])
    between = file_of(tmp_path / "between.mid", [(60, 0.5, 0.75)])
    whistle = file_of(tmp_path / "whistle.mid", [(60, 0.0, 1.0), (109, 2.5, 3.0)])
    rumble = file_of(tmp_path / "rumble.mid", [(60, 0.0, 1.0), (20, 1.0, 3.0)])
    endless = file_of(tmp_path / "endless.mid", [(60, 0.0, 1.0), (60, 10_000.0, 10_001.0)])
    apart = file_of(tmp_path / "apart.mid", CHORALE, CHORALE, kind=2)
    film = bytearray(music.midi(PIECE, 0.5))
    film[12:14] = 0xE7, 40  # 25 frames a second, 40 ticks a frame
    (tmp_path / "film.mid").write_bytes(film)
    for path, what, where in (
        (silent, "no note sounds", str(silent)),
        (between, "no note sounds", str(between)),
        (whistle, "pitch 109 is not among .*, 21 to 108", f"{whistle}, quarter note 3.50"),
        (rumble, "pitch 20 is not", f"{rumble}, quarter note 2.00"),
        (endless, "10001 steps, 10000 at most", str(endless)),
        (apart, "type 2", str(apart)),
        (tmp_path / "film.mid", "not in beats", str(tmp_path / "film.mid")),
    ):
        with pytest.raises(InputError, match=what) as error:
            music.from_midi(path, 0.5)
        assert error.value.where == where
        assert error.value.fix


# ---------------------------------------------------------------- sound


def spectrum(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and their strengths, of `music.RATE` samples a second."""
    return np.fft.rfftfreq(len(samples), 1 / music.RATE), np.abs(np.fft.rfft(samples * np.hanning(len(samples))))


def played(steps: music.Steps, seconds: float) -> np.ndarray:
    samples, rate = soundfile.read(io.BytesIO(music.sound(steps, seconds)))
    assert rate == music.RATE and samples.ndim == 1
    return samples


def test_sound_has_the_pitch() -> None:
    for pitch, frequency in ((45, 110.0), (69, 440.0), (81, 880.0)):
        samples = played([[pitch]] * 2, 0.5)
        assert len(samples) == pytest.approx(music.RATE, rel=0.1)  # an encoder pads
        frequencies, strengths = spectrum(samples)
        assert frequencies[strengths.argmax()] == pytest.approx(frequency, rel=0.01)


def test_sound_has_all_notes_of_a_chord_and_no_other() -> None:
    frequencies, strengths = spectrum(played([[60, 64, 67]] * 4, 0.5))
    near = {pitch: abs(frequencies / (440 * 2 ** ((pitch - 69) / 12)) - 1) < 0.01 for pitch in range(60, 68)}
    loud = {pitch for pitch, where in near.items() if strengths[where].max() > 0.2 * strengths.max()}
    assert loud == {60, 64, 67}


def test_sound_is_silent_where_the_piece_is() -> None:
    samples = played([[60], [], [64]], 0.5)
    loudness = [np.abs(samples[int((n + 0.2) * 8000) : int((n + 0.8) * 8000)]).max() for n in range(3)]
    assert loudness[1] < 0.01 < 0.2 < min(loudness[0], loudness[2])
    assert not music.wave([[]] * 3, 0.5).any()
    assert np.abs(played([], 0.5)).max() < 0.01


def test_a_tone_fades() -> None:
    samples = np.abs(music.wave([[60]] * 4, 0.5))
    first, last = (samples[start : start + 1000].max() for start in (2_000, 29_000))
    assert last / first == pytest.approx(np.exp(-music.DECAY * 27_000 / music.RATE), rel=0.05)


def test_a_high_tone_has_no_overtones_that_would_fold_back() -> None:
    frequencies, strengths = spectrum(music.wave([[108]] * 2, 0.5))  # C8: 4186 Hz, twice that is beyond 8 kHz
    away = abs(frequencies / (440 * 2 ** ((108 - 69) / 12)) - 1) > 0.05
    assert strengths[away].max() < 0.01 * strengths.max()


def test_sound_does_not_click() -> None:
    for steps in ([[60]], [[60], [62], [60, 67]], [[100], [], [98]]):
        samples = music.wave(steps, 0.25)
        assert 0.5 < np.abs(samples).max() <= 1
        assert samples[0] == 0 and abs(samples[-1]) < 0.01
        for edge in range(0, len(samples), 4000):  # notes begin and end here
            assert np.abs(samples[max(edge - 2, 0) : edge + 2]).max() < 0.05


def test_sound_is_small_and_repeats() -> None:
    steps = [[48, 55, 64, 72], [50, 57, 65, 74], [43, 59, 62, 79], [45, 57, 60, 76]] * 10
    content = music.sound(steps, 0.5)
    assert content == music.sound(steps, 0.5)
    assert 10_000 < len(content) < 20 * 4_000
