"""The command line: one subcommand per stage. The only code that prints, parses arguments, exits.

Modules that need torch are imported by the subcommands that use them, so that `seqbench
status` or a typing error answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from seqbench import __version__, archs, config, files, sources, tasks
from seqbench.errors import InputError, SeqbenchError, nearest
from seqbench.records import Setting

if TYPE_CHECKING:
    from seqbench.apply import Trained

SIDE_BY_SIDE = 32
"""Texts that a model answers at once."""
SHOWN = 60
"""Characters of a text beside its class."""


def say(text: str) -> None:
    """One line of progress, with the time, into the job's log."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


# ---------------------------------------------------------------- the configuration in force


def _plan(args: argparse.Namespace) -> config.Plan:
    """The plan of params.yaml, or of --config, with --preset and --set applied.

    A task that the command line names need not be among those of params.yaml.
    """
    found = _planned(args, {})
    named = tasks.name_of(getattr(args, "task", ""))
    if named in tasks.names() and named not in map(tasks.name_of, found.task_ids):
        return _planned(args, {"tasks": [named]})
    return found


def _planned(args: argparse.Namespace, changes: dict[str, Any]) -> config.Plan:
    if args.preset:
        changes = changes | {"preset": args.preset}
    for text in args.set:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise InputError(f"not KEY=VALUE: '{text}'", "--set", "e.g. --set train.steps=100")
        inner: Any = yaml.safe_load(value)
        for part in reversed(["overrides", *key.split(".")]):
            inner = {part: inner}
        changes = config.merge(changes, inner)
    if args.config is not None:
        return config.resolve(config.merge(_json(args.config, "--config"), changes))
    return config.load(changes)


def _json(text: str, option: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"not valid JSON ({error})", option, "leave it out to use params.yaml") from None
    if not isinstance(data, dict):
        raise InputError("not a JSON object", option, "leave it out to use params.yaml")
    return data


def _settings(args: argparse.Namespace) -> list[Setting]:
    """The cells meant by TASK ARCH: of --setting (one cell, as the DAG calls it) or of the plan."""
    if args.setting is not None:
        return [config.typed(Setting, _json(args.setting, "--setting"), "--setting")]
    plan = _plan(args)
    return [plan.cell(task_id, args.arch) for task_id in plan.expand(args.task)]


def _device(args: argparse.Namespace) -> str:
    """The DAG resolves the device once and hands it down in the environment."""
    return os.environ.get("SEQBENCH_DEVICE") or _plan(args).device


def _mirror(args: argparse.Namespace) -> str | None:
    return getattr(args, "mirror", None) or os.environ.get("SEQBENCH_MIRROR") or _plan(args).mirror


# ---------------------------------------------------------------- subcommands


def plan(args: argparse.Namespace) -> None:
    """Say what a run would do; with --to, write it as JSON."""
    found = _plan(args)
    if args.to:
        found.model_copy(update={"mirror": None}).write(args.to)  # an address of this machine, maybe with a password
    print(f"preset {found.preset} ({found.preset_reason}); device {found.device} ({found.device_reason})")
    print(f"{len(found.cells)} cells x {len(found.seeds)} seeds: {', '.join(found.task_ids)}")
    print(f"architectures: {', '.join(found.architectures)}")


def fetch(args: argparse.Namespace) -> None:
    """Download raw files, checked against data/sources.toml."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from seqbench import fetch

    known = sources.read()
    for name in args.names:
        if name not in known:
            raise InputError(f"unknown source '{name}'", "data/sources.toml", nearest(name, known))
    if not args.names and not args.all:
        raise InputError("no source is named", "seqbench fetch", f"name some, or --all: {', '.join(known)}")
    usual = sources.usual(known) if args.all else []
    wanted = list(dict.fromkeys([*usual, *(known[name] for name in args.names)]))
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, disable=not sys.stderr.isatty(), transient=True) as bars:
        rows = {source.name: bars.add_task(source.name, total=source.bytes) for source in wanted}
        paths = fetch.fetch(
            wanted,
            args.to or args.root / "raw",
            _mirror(args),
            lambda name, done, total: bars.update(rows[name], completed=done, total=total),
        )
    for source, path in zip(wanted, paths, strict=True):
        say(f"{source.name}: {path.stat().st_size} bytes, sha256 as pinned")


def prepare(args: argparse.Namespace) -> None:
    """Turn raw files into arrays."""
    from seqbench.prepare import prepare

    if args.setting is not None:
        wanted = [(args.task, _json(args.setting, "--setting"))]
    else:
        found = _plan(args)
        cells = [found.cell(task_id, found.architectures[0]) for task_id in found.expand(args.task)]
        wanted = [(cell.task, cell.task_settings) for cell in cells]
    for task, settings in wanted:
        name = tasks.name_of(task)
        manifest = prepare(name, settings, args.root)
        say(f"{tasks.task_id(name, settings)}: {manifest.sizes}, digest {manifest.digest[:16]}")
        for note in manifest.defects:
            say(f"  {note}")


def control(args: argparse.Namespace) -> None:
    """Score the controls of a task."""
    from seqbench.prepare import controls

    for task_id in [args.task] if (args.root / "prepared" / args.task).is_dir() else _plan(args).expand(args.task):
        record = controls(task_id, args.root)
        for one in record.controls:
            say(f"{task_id} {one.kind} control '{one.name}': {record.metric} {one.metrics[record.metric]:.6g}")


def _ensure_data(setting: Setting, args: argparse.Namespace) -> None:
    """Fetch and prepare what is missing or was made with other settings (in the DAG: nothing)."""
    from seqbench.prepare import prepare
    from seqbench.records import Manifest

    job = tasks.build(setting.task, setting.task_settings)
    path = args.root / "prepared" / config.identity(setting) / "manifest.json"
    if path.exists():
        manifest = Manifest.read(path, f"prepare it again: seqbench prepare {config.identity(setting)}")
        same = (manifest.settings, manifest.version) == (setting.task_settings, tasks.find(setting.task).VERSION)
        if same and not job.own_files():  # such a file may have changed under its name: `prepare` looks
            return
    wanted = job.sources()
    if wanted:
        from seqbench import fetch

        known = sources.read()
        fetch.fetch([known[name] for name in wanted], args.root / "raw", _mirror(args), None)
    prepare(setting.task, setting.task_settings, args.root)


def _tuned_rate(setting: Setting, args: argparse.Namespace, device: Any, tell: Callable[[str], None]) -> float:
    """The tuned learning rate of a cell; tuned now where it is missing or belongs to another setting."""
    from seqbench import tune
    from seqbench.prepared import Prepared
    from seqbench.records import Tuned

    task_id = config.identity(setting)
    path = args.root / "tuned" / task_id / f"{setting.arch}.json"
    if path.exists():
        tuned = Tuned.read(path, f"tune it again: seqbench tune {task_id} {setting.arch}")
        if tuned.key == tune.tuning_key(setting, Prepared(args.root / "prepared" / task_id).manifest.digest):
            return tuned.learning_rate
    return tune.tune(setting, args.root, device, tell).learning_rate


def tune(args: argparse.Namespace) -> None:
    """Choose the learning rate of a cell."""
    from seqbench import device, tune

    device.deterministic()
    for setting in _settings(args):
        name = f"{config.identity(setting)} {setting.arch}"
        _ensure_data(setting, args)
        with device.lease(_device(args)) as here:
            tune.tune(setting, args.root, here, lambda text, name=name: say(f"{name}: {text}"))  # type: ignore[misc]


def train(args: argparse.Namespace) -> None:
    """Train the seeds of a cell."""
    from seqbench import device, train

    device.deterministic()
    for setting in _settings(args):
        name = f"{config.identity(setting)} {setting.arch}"
        seeds = tuple(dict.fromkeys(args.seed or _plan(args).seeds))
        whole = not args.seed or args.setting is not None  # a seed tried by hand leaves the cell's files alone
        if set(seeds) & set(setting.tune.seeds):
            raise InputError("a tuning seed cannot be reported", "--seed", f"other than {setting.tune.seeds}")
        _ensure_data(setting, args)
        with device.lease(_device(args)) as here:

            def tell(text: str, name: str = name) -> None:
                say(f"{name}: {text}")

            rate = _tuned_rate(setting, args, here, tell)
            train.train_cell(setting, rate, seeds, args.root, here, tell, whole)


def measure(args: argparse.Namespace) -> None:
    """Time an architecture and weigh its memory."""
    from seqbench import device, measure

    settings = (
        config.typed(config.MeasureSettings, _json(args.setting, "--setting"), "--setting")
        if args.setting
        else _plan(args).measure
    )
    core = _json(args.core, "--core") if args.core else _plan(args).cores.get(args.arch, archs.defaults(args.arch))
    with device.lease(_device(args)) as here:
        record = measure.measure(args.arch, core, settings, here, lambda text: say(f"{args.arch}: {text}"))
    record.write(args.root / "measured" / f"{args.arch}.json")


def analyse(args: argparse.Namespace) -> None:
    """Turn runs, controls and measurements into a summary and tables."""
    from seqbench import analyse

    found = config.Plan.read(args.plan, "write it again: seqbench plan --to FILE") if args.plan else _plan(args)
    summary = analyse.summarise(found, args.root)
    folder = args.root / "summary"
    summary.write(folder / "summary.json")
    files.write_json(folder / "metrics.json", analyse.metrics(summary))
    files.write_text(folder / "curves.csv", analyse.curves(summary).to_csv(index=False, lineterminator="\n"))
    files.write_text(args.results, analyse.table(summary).to_csv(index=False, lineterminator="\n"))
    say(f"{args.results}: {sum(len(cell.runs) for cell in summary.cells)} runs")


def report(args: argparse.Namespace) -> None:
    """Render the page."""
    from seqbench import analyse, report

    summary = analyse.Summary.read(args.root / "summary" / "summary.json", "make it again: seqbench analyse")
    page = report.render(summary)
    files.write_text(args.to, page)
    print(f"{args.to}: {len(page.encode()) / 1e6:.2f} MB; open it in a browser")


def status(args: argparse.Namespace) -> None:
    """Say what is done, running and left."""
    from rich.console import Console
    from rich.live import Live

    from seqbench import status

    path = args.root / "summary" / "plan.json"
    found = config.Plan.read(path, "start the pipeline again") if path.exists() else _plan(args)
    if not args.watch:
        Console(soft_wrap=not sys.stdout.isatty()).print(status.table(status.look(found, args.root)))
        return
    with Live(refresh_per_second=1) as live:
        while True:
            now = status.look(found, args.root)
            live.update(status.table(now))
            if now.complete:
                return
            time.sleep(2)


# ---------------------------------------------------------------- trained models on new input


@contextlib.contextmanager
def _trained(args: argparse.Namespace) -> Iterator[Trained]:
    """The model that TASK ARCH and --seed mean, on a device of its own; which run it is goes into the log."""
    from seqbench import apply, device

    device.deterministic()
    run = apply.find(args.root, args.task, args.arch, args.seed, args.command)
    result, kind = run.result, _device(args)
    choice = f"seed {result.seed}" if args.seed is not None else f"seed {result.seed}, the best of {run.among}"
    where = "cpu" if kind == "cpu" else f"the first free {kind} device"
    say(f"{result.task} {result.arch}: {choice} ({run.validation}), on {where}")
    with device.lease(kind) as here:
        yield apply.load(run, here)


def _texts(args: argparse.Namespace) -> Iterator[list[str]]:
    """The texts of the command line, else the lines of standard input, some at a time; none of them is empty."""
    if args.texts:
        return _some([_filled(text, f"text {number}") for number, text in enumerate(args.texts, start=1)])
    if sys.stdin.isatty():
        fix = f"seqbench {args.command} {args.task} {args.arch} 'a text', or pipe lines into it"
        raise InputError("no text is given", "standard input is a terminal", fix)
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
    """Say of which class texts are, by a trained model."""
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


# ---------------------------------------------------------------- arguments


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


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "plan": plan,
    "fetch": fetch,
    "prepare": prepare,
    "control": control,
    "tune": tune,
    "train": train,
    "measure": measure,
    "analyse": analyse,
    "report": report,
    "status": status,
    "classify": classify,
    "generate": generate,
    "translate": translate,
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
        sub.add_argument("--root", type=Path, default=Path("data"), help="folder of all data (default: data)")
        sub.add_argument("--preset", help="use this preset, whatever params.yaml says")
        sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the preset")
        sub.add_argument("--config", help="a configuration as JSON in place of params.yaml")
    for name in ("prepare", "control", "tune", "train"):
        subparsers[name].add_argument("task", help="a task (adding) or task id (adding-50)")
    for name in ("tune", "train", "measure"):
        subparsers[name].add_argument("arch", help="an architecture (lstm)")
    for name in ("prepare", "tune", "train", "measure"):
        subparsers[name].add_argument("--setting", help="the resolved setting as JSON, as the DAG gives it")
    subparsers["train"].add_argument("--seed", type=int, action="append", help="only this seed (may be repeated)")
    subparsers["measure"].add_argument("--core", help="settings of the core as JSON")
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


def _add_use(subparsers: dict[str, Parser]) -> None:
    """The options of the subcommands that use a trained model."""
    for name in ("classify", "generate", "translate"):
        subparsers[name].add_argument("task", help="a task (sst2) or task id that has been trained")
        subparsers[name].add_argument("arch", help="an architecture (lstm)")
        subparsers[name].add_argument("--seed", type=int, help="the run of this seed (default: the best on validation)")
    for name in ("classify", "translate"):
        subparsers[name].add_argument(
            "texts", nargs="*", default=[], metavar="TEXT", help="default: the lines of standard input"
        )
    subparsers["classify"].add_argument("--json", action="store_true", help="one object a line, with all probabilities")
    write = subparsers["generate"].add_argument
    write("--prompt", required=True, help="the text to go on from")
    write("--length", type=int, default=200, help="tokens to write (default: 200)")
    write("--temperature", type=float, default=1.0, help="0: always the likeliest token (default: 1)")
    write("--top-k", type=int, default=0, help="draw from so many likeliest tokens (default: 0, all)")
    write("--sample-seed", type=int, default=1, help="another one draws another text (default: 1)")
    way = subparsers["translate"].add_mutually_exclusive_group()
    way.add_argument("--beam", type=int, default=5, help="hypotheses of the beam search (default: 5)")
    way.add_argument("--greedy", action="store_true", help="the likeliest piece at each step, no search")
    subparsers["translate"].add_argument("--attention", action="store_true", help="what each piece looked at most")


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
            COMMANDS[args.command](args)
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
    return 0
