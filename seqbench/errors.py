"""Errors a person can act on: what is wrong, where, how to fix it; and the exit codes.

Exit codes: 1 a fault of seqbench itself, 2 bad input (configuration, arguments),
3 bad data (a file is missing, corrupt, truncated or tampered with), 4 network,
5 the machine (no such device, disk full, no permission, folder in use).
6 is no error: `seqbench diff` found a difference beyond noise.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

DIFFERENT = 6
"""Exit code of `seqbench diff` where something differs beyond noise; 1 would be a fault of seqbench."""


class SeqbenchError(Exception):
    """An expected failure, printed as three lines; `exit_code` ends the process."""

    exit_code = 1

    def __init__(self, what: str, where: str, fix: str) -> None:
        super().__init__(what, where, fix)  # all three, so that the error survives a copy
        self.what, self.where, self.fix = what, where, fix

    def __str__(self) -> str:
        return f"error: {self.what}\nwhere: {self.where}\nfix:   {self.fix}"


class InputError(SeqbenchError):
    """A key, value or argument that a person gave is not one seqbench can use."""

    exit_code = 2


class DataError(SeqbenchError):
    """A file does not hold what its record says it must."""

    exit_code = 3


class NetworkError(SeqbenchError):
    """A download did not arrive."""

    exit_code = 4


class MachineError(SeqbenchError):
    """The machine refuses: device, disk space, permission, or a folder in use."""

    exit_code = 5


def nearest(word: str, known: Iterable[str]) -> str:
    """One sentence that names the closest known word, and all of them."""
    choices = sorted(known)
    close = difflib.get_close_matches(str(word), choices, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(choices)}"
