# The plan of this run, the folder's lock, and what every rule shares.
import contextlib
import re
import shlex
import sys
from pathlib import Path

sys.path.insert(
    0, str(workflow.basedir)
)  # this clone's package, also where another one is installed

from seqbench import files, sources, tasks
from seqbench.config import cuda_devices, identity, resolve, scalars
from seqbench.errors import SeqbenchError


def stop(error):
    """Three lines and the exit code, in place of Snakemake's traceback of this file."""
    print(error, file=sys.stderr, flush=True)
    sys.exit(error.exit_code)


try:
    CONFIG = scalars(config)
    PLAN = resolve(CONFIG)
    SOURCES = sources.read()
    for data in PLAN.data.values():
        for path in tasks.build(data.task, data.settings).own_files():
            files.existing(path)
except SeqbenchError as error:
    stop(error)

DATA = PLAN.data  # by task id
CELLS = [*PLAN.cells, *PLAN.variants]
RAW = {str(source.path): name for name, source in SOURCES.items()}
GPU = int(PLAN.device == "cuda")
MACHINE = 1000  # tokens of the machine: a job takes one, a measurement takes all

# Jobs get device and mirror by environment, not as parameters: where a result was made stands in its
# provenance, and looking at finished results on another machine must not make them again.
shell.prefix(
    f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    f" SEQBENCH_DEVICE={PLAN.device} SEQBENCH_MIRROR={shlex.quote(PLAN.mirror or '')}; "
)

workflow.global_resources.setdefault("machine", MACHINE)
if GPU:
    workflow.global_resources.setdefault("gpu", cuda_devices())

LOCK = contextlib.ExitStack()


wildcard_constraints:
    raw="|".join(map(re.escape, RAW)),
    task=r"[a-z][a-z0-9_]*(-[A-Za-z0-9.]+)?",
    arch=r"[a-z][a-z0-9_]*(\+[a-z][a-z0-9_]*)?",  # with the name of a variant


def code(*names):
    """Source files that a rule's numbers depend on. A job whose keys are unchanged ends in a second."""
    return [f"seqbench/{name}.py" for name in names]


def with_helpers(folder, name):
    """A task's or architecture's file, and what those of its folder share."""
    helpers = sorted(path.stem for path in Path("seqbench", folder).glob("_*.py"))
    return code(f"{folder}/{name}", *(f"{folder}/{helper}" for helper in helpers))


def architecture(wildcards):
    """The file of a cell's architecture, whatever its variant, and what those of its folder share."""
    return with_helpers("archs", wildcards.arch.partition("+")[0])


def of_cells(pattern):
    """A file of each cell, of the grid and beside it."""
    return [pattern.format(task=identity(cell), arch=cell.label) for cell in CELLS]


def seeds(wildcards):
    """The cell's seeds, as options."""
    found = PLAN.seeds_of(wildcards.task, wildcards.arch)
    return " ".join(f"--seed {seed}" for seed in found)


def raw_files(data):
    """Downloads that a task needs, and a person's own files."""
    job = tasks.build(data.task, data.settings)
    return [
        *(f"data/raw/{SOURCES[name].path}" for name in job.sources()),
        *map(str, job.own_files()),
    ]


def package(name):
    """All files of a sub-package: code, template, style."""
    return sorted(
        str(path) for path in Path("seqbench", name).iterdir() if path.is_file()
    )


def setting(wildcards):
    """The cell's resolved setting, as one JSON text."""
    return files.canonical(PLAN.cell(wildcards.task, wildcards.arch).plain())


def cores(*architectures):
    """Settings of these architectures' cores, as one JSON text."""
    return files.canonical({arch: PLAN.cores[arch] for arch in architectures})


def of_task(wildcards):
    """The settings of a task's cells, of the grid and of ablations, as one JSON text."""
    return files.canonical(
        {cell.label: cell.plain() for cell in PLAN.measured_on(wildcards.task)}
    )


def architectures_files():
    """Files of all architectures of the plan, and what they share."""
    return sorted(
        {path for arch in PLAN.architectures for path in with_helpers("archs", arch)}
    )


def configuration():
    """What a person configured, as one JSON text, without what belongs to this machine."""
    return files.canonical(
        {key: value for key, value in CONFIG.items() if key != "mirror"}
    )


onstart:
    try:
        LOCK.enter_context(files.lock(Path("data/.lock")))
    except SeqbenchError as error:
        stop(error)
    print(
        f"preset {PLAN.preset} ({PLAN.preset_reason}); device {PLAN.device} ({PLAN.device_reason})",
        file=sys.stderr,
    )


onsuccess:
    LOCK.close()


onerror:
    LOCK.close()
