"""The subcommands of the pipeline, one for each stage, and what shows its state."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from seqbench import archs, config, files, sources, tasks
from seqbench.cli import plans
from seqbench.errors import DIFFERENT, InputError, SeqbenchError, nearest
from seqbench.measurements import Gates, TaskReaches
from seqbench.records import Setting


def plan(args: argparse.Namespace) -> None:
    """Say what a run would do; with --to, write it as JSON."""
    found = plans.plan(args)
    if args.to:
        found.model_copy(update={"mirror": None}).write(args.to)  # an address of this machine, maybe with a password
    print(f"preset {found.preset} ({found.preset_reason}); device {found.device} ({found.device_reason})")
    print(f"{len(found.cells)} cells x {len(found.seeds)} seeds: {', '.join(found.task_ids)}")
    if found.variants:
        runs = sum(len(found.seeds_of(config.identity(cell), cell.label)) for cell in found.variants)
        print(f"{len(found.variants)} variants (cells beside these), {runs} runs")
    print(f"architectures: {', '.join(found.architectures)}")
    for what, names in (("ablations", found.ablations), ("published", found.published)):
        if names:
            print(f"{what}: {', '.join(names)}")


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
            plans.mirror(args),
            lambda name, done, total: bars.update(rows[name], completed=done, total=total),
        )
    for source, path in zip(wanted, paths, strict=True):
        pinned = "every file as pinned" if source.members else "sha256 as pinned"
        plans.say(f"{source.name}: {path.stat().st_size} bytes, {pinned}")


def prepare(args: argparse.Namespace) -> None:
    """Turn raw files into arrays."""
    from seqbench.prepare import prepare

    if args.setting is not None:
        wanted = [(args.task, plans.read_json(args.setting, "--setting"))]
    else:
        found = plans.plan(args)
        wanted = [(found.data[id].task, found.data[id].settings) for id in found.expand(args.task, beside=True)]
    for task, settings in wanted:
        name = tasks.name_of(task)
        manifest = prepare(name, settings, args.root)
        plans.say(f"{tasks.task_id(name, settings)}: {manifest.sizes}, digest {manifest.digest[:16]}")
        for note in manifest.defects:
            plans.say(f"  {note}")


def control(args: argparse.Namespace) -> None:
    """Score the controls of a task."""
    from seqbench.prepare import controls

    known = (args.root / "prepared" / args.task).is_dir()
    for task_id in [args.task] if known else plans.plan(args).expand(args.task, beside=True):
        record = controls(task_id, args.root)
        for one in record.controls:
            plans.say(f"{task_id} {one.kind} control '{one.name}': {record.metric} {one.metrics[record.metric]:.6g}")


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
        fetch.fetch([known[name] for name in wanted], args.root / "raw", plans.mirror(args), None)
    prepare(setting.task, setting.task_settings, args.root)


def _tuned_rate(setting: Setting, args: argparse.Namespace, device: Any, tell: Callable[[str], None]) -> float:
    """The tuned learning rate of a cell; tuned now where it is missing or belongs to another setting."""
    from seqbench import tune
    from seqbench.prepared import Prepared
    from seqbench.records import Tuned

    task_id = config.identity(setting)
    path = args.root / "tuned" / task_id / f"{setting.label}.json"
    if path.exists():
        tuned = Tuned.read(path, f"tune it again: seqbench tune {task_id} {setting.label}")
        if tuned.key == tune.tuning_key(setting, Prepared(args.root / "prepared" / task_id).manifest.digest):
            return tuned.learning_rate
    return tune.tune(setting, args.root, device, tell).learning_rate


def tune(args: argparse.Namespace) -> None:
    """Choose the learning rate of a cell."""
    from seqbench import device, tune

    device.deterministic()
    for setting in plans.settings(args):
        name = f"{config.identity(setting)} {setting.label}"
        _ensure_data(setting, args)
        with device.lease(plans.device(args)) as here:
            tune.tune(setting, args.root, here, lambda text, name=name: plans.say(f"{name}: {text}"))  # type: ignore[misc]


def train(args: argparse.Namespace) -> None:
    """Train the seeds of a cell."""
    from seqbench import device, train

    device.deterministic()
    for setting in plans.settings(args):
        name = f"{config.identity(setting)} {setting.label}"
        own = args.seed or plans.plan(args).seeds_of(config.identity(setting), setting.label)
        seeds = tuple(dict.fromkeys(own))
        whole = not args.seed or args.setting is not None  # a seed tried by hand leaves the cell's files alone
        if set(seeds) & set(setting.tune.seeds):
            raise InputError("a tuning seed cannot be reported", "--seed", f"other than {setting.tune.seeds}")
        _ensure_data(setting, args)
        with device.lease(plans.device(args)) as here:

            def tell(text: str, name: str = name) -> None:
                plans.say(f"{name}: {text}")

            rate = _tuned_rate(setting, args, here, tell)
            train.train_cell(setting, rate, seeds, args.root, here, tell, whole)


def _measuring(args: argparse.Namespace) -> config.MeasureSettings:
    """What is measured: of --measure, as the DAG gives it, or of the plan."""
    if args.measure is None:
        return plans.plan(args).measure
    return config.typed(config.MeasureSettings, plans.read_json(args.measure, "--measure"), "--measure")


def _tell(name: str, text: str) -> None:
    plans.say(f"{name}: {text}")


def _cores(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Architectures with the settings of their cores: of --cores, as the DAG gives them, or those named, or all."""
    if args.cores is not None:
        return plans.read_json(args.cores, "--cores")
    return plans.cores(args, args.archs)


def _gates(arch: str, core: dict[str, Any] | None, args: argparse.Namespace) -> Gates:
    """The gates of an architecture; checked now where they are missing, or were those of another version.

    `core`: the settings that must have been checked; None: those of the plan, whatever they are.
    """
    from seqbench.gates import gates as check

    path = args.root / "measured" / "gates" / f"{arch}.json"
    if path.exists():
        found = Gates.read(path, f"check it again: seqbench gates {arch}")
        if core in (None, found.core) and found.version == archs.version(arch):
            return found
    found = check(arch, plans.cores(args, [arch])[arch] if core is None else core)
    found.write(path)
    return found


def gates(args: argparse.Namespace) -> None:
    """Check that architectures may be timed and compared: causality, streaming, padding, ..."""
    from seqbench.gates import gates as check

    for arch, core in _cores(args).items():
        found = check(arch, core)
        found.write(args.root / "measured" / "gates" / f"{arch}.json")
        for one in found.failed:
            plans.say(f"{arch}: {one.gate} FAILED in '{one.model}': {one.note}")
        plans.say(f"{arch}: {len(found.checks) - len(found.failed)} of {len(found.checks)} checks passed")


def measure(args: argparse.Namespace) -> None:
    """Time architectures: throughput and latency, over length, batch and phase."""
    from seqbench import device
    from seqbench.measure import speed

    cores, settings = _cores(args), _measuring(args)
    passed = {arch: _gates(arch, core, args) for arch, core in cores.items()}
    with device.lease(plans.device(args)) as here:
        for record in speed.measure(cores, settings, passed, args.root, here, plans.say):
            record.write(args.root / "measured" / f"{record.arch}.json")


def count(args: argparse.Namespace) -> None:
    """Count what repeats exactly: memory, arithmetic, gradients of architectures."""
    from seqbench import device
    from seqbench.measure import count

    settings = _measuring(args)
    with device.lease(plans.device(args)) as here:
        for arch, core in _cores(args).items():
            record = count.count(arch, core, settings, _gates(arch, core, args), args.root, here, plans.say)
            record.write(args.root / "measured" / "counted" / f"{arch}.json")


def pace(args: argparse.Namespace) -> None:
    """Time the models of a task on their own batches."""
    from seqbench import device
    from seqbench.measure import pace

    settings = _measuring(args)
    for task_id, cells in plans.by_task(args).items():
        _ensure_data(cells[0], args)
        passed = {cell.arch: _gates(cell.arch, None, args) for cell in cells}
        with device.lease(plans.device(args)) as here:
            record = pace.pace(cells, settings, passed, args.root, here, partial(_tell, task_id))
        record.write(args.root / "measured" / "pace" / f"{task_id}.json")


def reach(args: argparse.Namespace) -> None:
    """Find how far back the trained models of a task remember."""
    from seqbench import device, horizon

    settings = _measuring(args)
    seeds = tuple(args.seed or plans.plan(args).seeds)
    for task_id, cells in plans.by_task(args).items():
        with device.lease(plans.device(args)) as here:
            found = {
                cell.label: horizon.reaches(cell, seeds, args.root, settings, here, partial(_tell, task_id))
                for cell in cells
            }
        grid, variants = (
            tuple(found[cell.label] for cell in cells if bool(cell.variant) is beside) for beside in (False, True)
        )
        TaskReaches(task=task_id, cells=grid, variants=variants).write(
            args.root / "measured" / "reach" / f"{task_id}.json"
        )


def analyse(args: argparse.Namespace) -> None:
    """Turn runs, controls and measurements into a summary and tables."""
    from seqbench import analyse

    found = config.Plan.read(args.plan, "write it again: seqbench plan --to FILE") if args.plan else plans.plan(args)
    summary = analyse.summarise(found, args.root)
    folder = args.root / "summary"
    summary.write(folder / "summary.json")
    files.write_json(folder / "metrics.json", analyse.metrics(summary))
    files.write_text(folder / "curves.csv", analyse.curves(summary).to_csv(index=False, lineterminator="\n"))
    files.write_text(args.results, analyse.table(summary).to_csv(index=False, lineterminator="\n"))
    plans.say(f"{args.results}: {sum(len(cell.runs) for cell in summary.cells)} runs")


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
    found = config.Plan.read(path, "start the pipeline again") if path.exists() else plans.plan(args)
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


def diff(args: argparse.Namespace) -> int:
    """Compare two result sets: circumstances, scores, ranks, verdicts, costs."""
    from seqbench.analyse import result_sets
    from seqbench.analyse.difference import compare
    from seqbench.cli import differences

    try:
        found = compare(result_sets.read(args.a), result_sets.read(args.b))
    except SeqbenchError as error:  # it may quote what stands in the file
        raise type(error)(*map(differences.plain, (error.what, error.where, error.fix))) from None
    if args.json:
        files.write_json(args.json, found.plain() | {"beyond_noise": list(found.beyond_noise)})
    if args.csv:
        files.write_text(args.csv, differences.table(found))
    print("\n".join(differences.lines(found, args.all)))
    return DIFFERENT if found.beyond_noise else 0
