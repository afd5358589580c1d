"""How well seqbench's times repeat on a machine: a small sweep, measured whole several times in one process.

    python benchmarks/repeat.py [--repeats N] [--seconds S] [--visits N] [--repetitions N] [--arch lstm ...]

Points are those of `seqbench measure` with the quick preset, of one thread, the best track and the usual form:
training and evaluation at the shortest and the longest length, streaming after the shortest and the longest context.
Each repeat begins as the command does (the paths are chosen anew) and measures every point twice, each time in
several visits, all in orders shuffled anew. The first measurements make the medians that are compared over repeats; the
second ones (A/A) show what noise does within a repeat. A measurement of the machine, not a test: the exit code is 0.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import tempfile
from pathlib import Path

import numpy as np
import torch

from seqbench import archs, config, device
from seqbench.measure import clock, visits
from seqbench.measure.bench import Bench
from seqbench.measure.speed import Place, Sweep, places
from seqbench.measure.visits import Visit
from seqbench.measurements import Measurement

CLOSE = 0.03
"""Share of the median over repeats that every repeat should lie within."""
PRESET = Path(__file__).parent.parent / "workflow" / "presets" / "quick.yaml"
ROW = "{:<12} {:<36} {:>12} {:<9} {:>9} {:>9} {:>8} {:>8}  {}"
Point = tuple[str, Place]


def chosen(bench: Bench) -> list[Place]:
    """The points of an architecture that are repeated."""
    settings = bench.settings
    lengths, contexts = ({of[0], of[-1]} for of in (settings.lengths, settings.contexts))
    return [
        place
        for place in places(bench)
        if (place.threads, place.track, place.form) == (1, "best", "")
        and (
            (place.quantity in ("train", "infer") and place.length in lengths and place.batch == settings.batch)
            or (place.quantity == "stream" and place.length in contexts)
        )
    ]


def once(benches: dict[str, Bench], order: random.Random) -> dict[Point, tuple[Measurement, Measurement]]:
    """One repeat: each point measured twice, the earlier first."""
    settings = next(iter(benches.values())).settings
    with tempfile.TemporaryDirectory() as root:  # nothing is kept from one repeat to the next
        sweep = Sweep(settings, Path(root), torch.device("cpu"))
        return _points(sweep, benches, order)


def _points(
    sweep: Sweep, benches: dict[str, Bench], order: random.Random
) -> dict[Point, tuple[Measurement, Measurement]]:
    twice = [(arch, place, half) for arch, bench in benches.items() for place in chosen(bench) for half in (0, 1)]
    seen: dict[Point, tuple[list[Visit], list[Visit]]] = {(arch, place): ([], []) for arch, place, _ in twice}
    for _ in range(sweep.settings.visits):
        for arch, place, half in order.sample(twice, len(twice)):
            earlier = seen[arch, place][half]
            if budget := visits.left(sweep.settings.budget, earlier):
                path = sweep.path(benches[arch], place)
                earlier.append(sweep.look(benches[arch], place, path, budget, first=False))
    return {
        point: (sweep.together(point[1], first), sweep.together(point[1], second))
        for point, (first, second) in seen.items()
    }


def median(m: Measurement) -> float:
    """NaN where the point ended without a value."""
    return m.value.median if m.value else float("nan")


def farthest(medians: list[float]) -> float:
    """The largest distance from the median of them all, relative to it."""
    middle = np.median(medians)
    return float(np.max(np.abs(np.array(medians) / middle - 1)))


def line(point: Point, repeats: list[dict[Point, tuple[Measurement, Measurement]]]) -> str:
    """A row of the table."""
    arch, place = point
    first = [repeat[point][0] for repeat in repeats]
    spread = [(m.value.q75 - m.value.q25) / m.value.median for m in first if m.value]
    medians = [median(m) for m in first]
    paths = ", ".join(dict.fromkeys(m.path for m in first))
    return ROW.format(
        arch,
        str(place),
        f"{np.median(medians):.5g}",
        first[0].unit,
        f"{farthest(medians):.1%}",
        f"{max(spread, default=float('nan')):.1%}",
        f"{max(m.load or 0.0 for m in first):.2f}",
        sum(bool(m.flags) for m in first),
        paths,
    )


def summary(repeats: list[dict[Point, tuple[Measurement, Measurement]]]) -> list[str]:
    """What all points say together."""
    points = list(repeats[0])
    far = {point: farthest([median(repeat[point][0]) for repeat in repeats]) for point in points}
    quiet = [point for point in points if not any(repeat[point][0].flags for repeat in repeats)]
    ratios = [median(second) / median(first) for repeat in repeats for first, second in repeat.values()]
    low, middle, high = np.nanquantile(ratios, [0.25, 0.5, 0.75])
    every = [m for repeat in repeats for pair in repeat.values() for m in pair]
    reasons = sorted(set(itertools.chain.from_iterable(m.flags for m in every)))
    return [
        f"A/A, second / first of a repeat: {middle:.4f} [{low:.4f}, {high:.4f}], "
        f"{np.mean(np.abs(np.array(ratios) - 1) <= CLOSE):.0%} of {len(ratios)} pairs within {CLOSE:.0%}",
        f"within {CLOSE:.0%} in every repeat: {sum(far[point] <= CLOSE for point in points)} of {len(points)} points; "
        f"of those that were never flagged {sum(far[point] <= CLOSE for point in quiet)} of {len(quiet)}",
        f"flagged: {sum(bool(m.flags) for m in every)} of {len(every)} measurements ({', '.join(reasons) or 'none'})",
    ]


def main() -> None:
    """Print the machine, the table and its summary."""
    parser = argparse.ArgumentParser(description="How well the times of seqbench repeat on this machine.")
    parser.add_argument("--repeats", type=int, default=5, help="whole sweeps (default 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds of a point's repetitions (default 1)")
    parser.add_argument("--visits", type=int, default=5, help="that the seconds are divided among (default 5)")
    parser.add_argument("--repetitions", type=int, default=1000, help="of a point, at most (default 1000)")
    parser.add_argument("--arch", nargs="+", choices=archs.names(), default=archs.names(), help="default: all")
    given = parser.parse_args()
    device.deterministic()
    preset = config.typed(config.Preset, config.read(PRESET), str(PRESET))
    changes = {"seconds": given.seconds, "visits": given.visits, "repetitions": given.repetitions}
    settings = preset.measure.model_copy(update=changes)
    cpu = torch.device("cpu")
    machine = device.fingerprint(cpu)
    print(f"{machine.name}, {machine.cores} cores; {machine.platform}; torch {torch.__version__}, one thread")
    print(f"{given.repeats} repeats, {given.seconds:g} s a point in {given.visits} visits")
    print(f"load average before: {os.getloadavg()[0]:.2f}")
    with clock.measuring():
        benches = {arch: Bench(arch, archs.defaults(arch), settings, cpu) for arch in given.arch}
        order = random.Random(0)
        repeats = [once(benches, order) for _ in range(given.repeats)]
    print("farthest: largest distance of a repeat's median from the median of all; quartiles: widest of a repeat,")
    print("both relative to the median; load: most cores that others kept busy; flagged: repeats")
    print(ROW.format("core", "point", "median", "unit", "farthest", "quartiles", "load", "flagged", "path"))
    for arch, bench in benches.items():
        for place in chosen(bench):
            print(line((arch, place), repeats))
    print("\n".join(summary(repeats)))
    print(f"load average after: {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
