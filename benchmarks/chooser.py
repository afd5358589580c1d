"""How often the chooser is right when it is sure, on simulated tasks.

    OMP_NUM_THREADS=1 python benchmarks/chooser.py [--tasks N] [--seeds 3 5 8]

Each task has four architectures whose true means are drawn as wide as runs spread over seeds, a third as wide, or three
times as wide. Counted are the architectures of which `seqbench.analyse.chooser` says that they are best with
over 90 %, and how many of those are. A simulation with a fixed seed, not a test: the exit code is 0.
"""

from __future__ import annotations

import argparse

import numpy as np

from seqbench.analyse import chooser

ARCHITECTURES = 4
SURE = 0.9


def main() -> None:
    """Print one line for each width of the means and number of seeds."""
    parser = argparse.ArgumentParser(description="How often the chooser is right when it is sure.")
    parser.add_argument("--tasks", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 8])
    given = parser.parse_args()
    print(f"{'means':>6} {'seeds':>6} {'sure':>6} {'right':>7}")
    for width in (1 / 3, 1.0, 3.0):
        for seeds in given.seeds:
            random = np.random.default_rng(1)
            sure = right = 0
            for _ in range(given.tasks):
                means = random.normal(0, width, ARCHITECTURES)
                odds = chooser.chances(means[:, None] + random.normal(size=(ARCHITECTURES, seeds)))
                for place, probability in enumerate(odds):
                    sure += probability > SURE
                    right += probability > SURE and place == means.argmax()
            share = f"{right / sure:.0%}" if sure else "-"
            print(f"{width:6.2f} {seeds:6d} {sure:6d} {share:>7}", flush=True)


if __name__ == "__main__":
    main()
