"""The command line: one subcommand per stage, and those that use a trained model. Only this package prints and exits.

Modules that need torch are imported by the subcommands that use them, so that `seqbench
status` or a typing error answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from seqbench import __version__, files
from seqbench.cli import models, stages
from seqbench.errors import InputError, SeqbenchError, nearest


class Parser(argparse.ArgumentParser):
    """argparse with our three lines, and with options that may stand before and between texts."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse; but words that stand after an option are texts too, where there are texts."""
        if not any(action.dest == "texts" for action in self._actions):
            return super().parse_known_args(args, namespace)
        words = list(args)
        end = words.index("--") if "--" in words else len(words)  # after it nothing is an option
        found, rest = super().parse_known_args(words[:end], namespace)
        options = [word for word in rest if word.startswith("-") and " " not in word]
        found.texts = [*found.texts, *(word for word in rest if word not in options), *words[end + 1 :]]
        return found, options

    def error(self, message: str) -> NoReturn:
        """Print the error and end with the exit code of bad input."""
        words = message.split("'")
        if "invalid choice" in message and len(words) > 1:
            fix = nearest(words[1], COMMANDS)
            message = f"unknown command '{words[1]}'"
        else:
            fix = f"{self.prog} --help shows what it takes"
        print(InputError(message, self.prog, fix), file=sys.stderr)
        sys.exit(InputError.exit_code)


COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "plan": stages.plan,
    "fetch": stages.fetch,
    "prepare": stages.prepare,
    "control": stages.control,
    "tune": stages.tune,
    "train": stages.train,
    "gates": stages.gates,
    "count": stages.count,
    "measure": stages.measure,
    "pace": stages.pace,
    "reach": stages.reach,
    "analyse": stages.analyse,
    "report": stages.report,
    "status": stages.status,
    "diff": stages.diff,
    "classify": models.classify,
    "generate": models.generate,
    "translate": models.translate,
    "transcribe": models.transcribe,
    "compose": models.compose,
    "forecast": models.forecast,
}


def parser() -> argparse.ArgumentParser:
    """All subcommands with their options."""
    top = Parser(prog="seqbench", description=sys.modules["seqbench"].__doc__)
    top.add_argument("--version", action="version", version=f"seqbench {__version__}")
    subs = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    subparsers = {}
    for name, run in COMMANDS.items():
        sub = subparsers[name] = subs.add_parser(name, help=(run.__doc__ or "").strip(), description=run.__doc__)
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if name == "diff":  # its results are not of this folder, nor of its configuration
            _add_diff(sub)
            continue
        sub.add_argument("--root", type=Path, default=Path("data"), help="folder of all data (default: data)")
        sub.add_argument("--preset", help="use this preset, whatever params.yaml says")
        sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the preset")
        sub.add_argument("--config", help="a configuration as JSON in place of params.yaml")
    for name in ("prepare", "control", "tune", "train", "pace", "reach"):
        subparsers[name].add_argument("task", help="a task (adding) or task id (adding-50)")
    for name in ("tune", "train"):
        subparsers[name].add_argument("arch", help="an architecture (lstm), or a variant of it (lstm+no_clipping)")
    for name in ("prepare", "tune", "train"):
        subparsers[name].add_argument("--setting", help="the resolved setting as JSON, as the DAG gives it")
    for name in ("train", "reach"):
        subparsers[name].add_argument("--seed", type=int, action="append", help="only this seed (may be repeated)")
    for name in ("gates", "count", "measure"):
        subparsers[name].add_argument("archs", nargs="*", help="architectures (default: all of the plan)")
        subparsers[name].add_argument("--cores", help="settings of the cores by architecture as JSON")
    for name in ("pace", "reach"):
        subparsers[name].add_argument("--cells", help="the task's settings by architecture as JSON")
    for name in ("count", "measure", "pace", "reach"):
        subparsers[name].add_argument("--measure", help="what is measured as JSON, as the DAG gives it")
    subparsers["fetch"].add_argument("names", nargs="*", help="names of data/sources.toml")
    subparsers["fetch"].add_argument(
        "--all", action="store_true", help="every file of data/sources.toml that is not optional"
    )
    subparsers["fetch"].add_argument("--to", type=Path, help="folder to fill: a mirror for machines without network")
    subparsers["fetch"].add_argument("--mirror", help="http://, https:// or file:// address tried before the origin")
    subparsers["plan"].add_argument("--to", type=Path, help="file to write")
    subparsers["analyse"].add_argument("--plan", type=Path, help="a plan as written by seqbench plan --to")
    subparsers["analyse"].add_argument("--results", type=Path, default=Path("reports/results.csv"))
    subparsers["report"].add_argument("--to", type=Path, default=Path("reports/index.html"))
    subparsers["status"].add_argument("--watch", action="store_true", help="go on until all is done")
    _add_use(subparsers)
    return top


def _add_diff(sub: Parser) -> None:
    """What the comparison of two result sets takes."""
    sub.set_defaults(root=Path())
    given = "a clone, its data/ or reports/, a summary.json or a results.csv"
    for name in ("a", "b"):
        sub.add_argument(name, metavar=name.upper(), type=Path, help=given)
    sub.add_argument("--all", action="store_true", help="list also what is equal")
    sub.add_argument("--json", type=Path, metavar="FILE", help="write everything compared as JSON")
    sub.add_argument("--csv", type=Path, metavar="FILE", help="write everything compared as one table")


def _add_use(subparsers: dict[str, Parser]) -> None:
    """The options of the subcommands that use a trained model."""
    for name in ("classify", "generate", "translate", "transcribe", "compose", "forecast"):
        subparsers[name].add_argument("task", help="a task (sst2) or task id that has been trained")
        subparsers[name].add_argument("arch", help="an architecture (lstm)")
        subparsers[name].add_argument("--seed", type=int, help="the run of this seed (default: the best on validation)")
    given = {"classify": "TEXT_OR_FILE", "translate": "TEXT", "transcribe": "FILE"}
    for name, word in given.items():
        subparsers[name].add_argument(
            "texts", nargs="*", default=[], metavar=word, help="default: the lines of standard input"
        )
    subparsers["classify"].add_argument("--json", action="store_true", help="one object a line, with all probabilities")
    write = subparsers["generate"].add_argument
    write("--prompt", required=True, help="the text to go on from")
    write("--length", type=int, default=200, help="tokens to write (default: 200)")
    write("--temperature", type=float, default=1.0, help="0: always the likeliest token (default: 1)")
    write("--top-k", type=int, default=0, help="draw from so many likeliest tokens (default: 0, all)")
    write("--sample-seed", type=int, default=1, help="another one draws another text (default: 1)")
    for name, word in (("translate", "piece"), ("transcribe", "label")):
        way = subparsers[name].add_mutually_exclusive_group()
        way.add_argument("--beam", type=int, default=5, help="width of the beam search (default: 5)")
        way.add_argument("--greedy", action="store_true", help=f"the likeliest {word} at each step, no search")
    subparsers["translate"].add_argument("--attention", action="store_true", help="what each piece looked at most")
    play = subparsers["compose"].add_argument
    play("file", nargs="?", type=Path, help="a MIDI file to go on from (default: the first piece of validation)")
    play("--to", type=Path, required=True, help="the file to write: .mid, or .mp3 to listen to")
    play("--opening", type=int, default=16, help="steps of the piece that are given (default: 16; 0: all)")
    play("--steps", type=int, default=64, help="steps to compose (default: 64)")
    play("--temperature", type=float, default=1.0, help="0: every note that is likelier than not (default: 1)")
    play("--sample-seed", type=int, default=1, help="another one draws other notes (default: 1)")
    subparsers["forecast"].add_argument("file", type=Path, help="a file as the task's own, whose end is read")


def _explain(error: Exception) -> tuple[str, int]:
    """Text and exit code of an error."""
    if isinstance(error, SeqbenchError):
        return str(error), error.exit_code
    if isinstance(error, ExceptionGroup):
        parts = [_explain(one) for one in error.exceptions]
        return "\n".join(text for text, _ in parts), parts[0][1]
    frame = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {' '.join(str(error).split())}"
    fix = "repeat with --debug for the traceback; if it is not yours, please report it"
    return str(SeqbenchError(what, f"{frame.filename}:{frame.lineno}", fix)), SeqbenchError.exit_code


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand; returns the exit code."""
    args = parser().parse_args(argv)
    try:
        with files.machine_errors(args.root):
            return COMMANDS[args.command](args) or 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever reads has enough, as `head`: not an error, and nothing more to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:  # the last stop: every error becomes three lines
        if args.debug:
            raise
        text, code = _explain(error)
        print(text, file=sys.stderr)
        return code
