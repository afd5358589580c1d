"""The subcommands that use a trained model on new input."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from seqbench import files, music
from seqbench.cli import plans
from seqbench.errors import InputError

if TYPE_CHECKING:
    from seqbench.apply import Trained

SIDE_BY_SIDE = 32
"""Texts or files that a model answers at once."""
SHOWN = 60
"""Characters of a text beside its class."""


@contextlib.contextmanager
def _trained(args: argparse.Namespace) -> Iterator[Trained]:
    """The model that TASK ARCH and --seed mean, on a device of its own; which run it is goes into the log."""
    from seqbench import apply, device

    device.deterministic()
    run = apply.find(args.root, args.task, args.arch, args.seed, args.command)
    result, kind = run.result, plans.device(args)
    choice = f"seed {result.seed}" if args.seed is not None else f"seed {result.seed}, the best of {run.among}"
    where = "cpu" if kind == "cpu" else f"the first free {kind} device"
    plans.say(f"{result.task} {result.arch}: {choice} ({run.validation}), on {where}")
    with device.lease(kind) as here:
        yield apply.load(run, here)


def _texts(args: argparse.Namespace) -> Iterator[list[str]]:
    """The texts of the command line, else the lines of standard input, some at a time; none of them is empty."""
    if args.texts:
        return _some([_filled(text, f"text {number}") for number, text in enumerate(args.texts, start=1)])
    if sys.stdin.isatty():
        kind = "FILE" if args.command == "transcribe" else "'a text'"
        fix = f"seqbench {args.command} {args.task} {args.arch} {kind}, or pipe lines into it"
        raise InputError("nothing is given to it", "standard input is a terminal", fix)
    return _lines()


def _some(items: list[Any]) -> Iterator[list[Any]]:
    return (items[start : start + SIDE_BY_SIDE] for start in range(0, len(items), SIDE_BY_SIDE))


def _lines() -> Iterator[list[str]]:
    count = 0
    for arrived in _arrived():
        for lines in _some(arrived):
            yield [_line(line, f"standard input, line {count + n}") for n, line in enumerate(lines, start=1)]
            count += len(lines)
    if not count:
        raise InputError("no text is given", "standard input is empty", "pipe one text a line into it")


def _arrived() -> Iterator[list[bytes]]:
    """The lines of standard input as they come: a program that waits for each answer before its next line gets it."""
    source: Any = sys.stdin.buffer  # typed as one without read1
    rest = b""
    while chunk := source.read1(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        yield lines
    yield [rest] if rest else []


def _line(line: bytes, where: str) -> str:
    try:
        return _filled(line.decode().removesuffix("\r"), where)
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8", f"{where}, byte {error.start + 1}", "convert it: iconv -t utf-8") from None


def _filled(text: str, where: str) -> str:
    if not text.strip():
        raise InputError("the text is empty", where, "leave it out")
    return text


def classify(args: argparse.Namespace) -> None:
    """Say of which class texts, recordings or clips are, by a trained model."""
    texts = _texts(args)
    with _trained(args) as model:
        for batch in texts:
            for text, chances in zip(batch, model.classify(batch).tolist(), strict=True):
                chance, label = max(zip(chances, model.labels, strict=True))
                if args.json:
                    row = {"text": text, "label": label, "probabilities": dict(zip(model.labels, chances, strict=True))}
                    print(json.dumps(row, ensure_ascii=False))
                else:
                    print(label, f"{chance:.4f}", " ".join(text.split())[:SHOWN], sep="\t")
            sys.stdout.flush()


def generate(args: argparse.Namespace) -> None:
    """Go on writing from a prompt, by a trained model."""
    with _trained(args) as model:
        for text in model.generate(args.prompt, args.length, args.temperature, args.top_k, args.sample_seed):
            print(text, end="", flush=True)
    print()


def translate(args: argparse.Namespace) -> None:
    """Translate sentences by a trained model."""
    texts = _texts(args)
    with _trained(args) as model:
        for batch in texts:
            for found in model.translate(batch, None if args.greedy else args.beam, args.attention):
                print(found.text)
                if args.attention:
                    _print_looks(found.looks)
            sys.stdout.flush()


def _print_looks(looks: tuple[tuple[str, str, float], ...] | None) -> None:
    """A row for each piece written: the source piece that it looked at most, and the share of that."""
    if looks is None:
        print("  (the model has no attention)")
        return
    wide = max(len(written) for written, _, _ in looks)
    for written, read, share in looks:
        print(f"  {written:{wide}}  {share:.2f}  {read}")


def transcribe(args: argparse.Namespace) -> None:
    """Write down what is said in recordings, by a trained model."""
    recordings = _texts(args)
    with _trained(args) as model:
        for batch in recordings:
            for text in model.transcribe(batch, None if args.greedy else args.beam):
                print(text)
            sys.stdout.flush()


def forecast(args: argparse.Namespace) -> None:
    """Say how a series goes on, by a trained model."""
    with _trained(args) as model:
        print(model.forecast(str(args.file)), end="")


def compose(args: argparse.Namespace) -> None:
    """Go on from the opening of a piece, by a trained model, into a MIDI file or a sound."""
    kinds = {".mid": music.midi, ".mp3": music.sound}
    kind = args.to.suffix.lower()
    if kind not in kinds or args.to.is_dir():
        raise InputError("not the name of a file that can be written", f"--to {args.to}", "NAME.mid or NAME.mp3")
    with _trained(args) as model:
        item = None if args.file is None else str(args.file)
        parts = model.compose(item, args.opening, args.steps, args.temperature, args.sample_seed)
        seconds = model.seconds
    piece = [step for part in parts for step in music.from_text(part)]
    with files.atomic_write(args.to) as file:
        file.write(kinds[kind](piece, seconds))
    plans.say(f"opening: {parts[0]}")
    print(f"{args.to}: {len(piece)} steps, {len(piece) * seconds:g} s, the last {args.steps} of them composed")
