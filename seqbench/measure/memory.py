"""Peak memory that repeats: sums over the allocator's own record, not what the operating system saw."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.autograd.profiler import profile

from seqbench.measure.clock import Work

ALLOCATOR = {
    "cpu": "torch's CPU allocations, from the profiler's records",
    "cuda": "torch's CUDA allocator: max_memory_allocated, its counters reset just before",
}


def allocated(work: Work) -> int:
    """Peak of the bytes that torch's CPU allocator gave out and had not yet got back during `work`.

    From the profiler's record of every allocation, so it repeats exactly. What libraries allocate
    for themselves (oneDNN's scratch space) is not in it.
    """
    with profile(profile_memory=True) as record:
        work()
    events = [event for event in record.kineto_results.events() if event.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return int(np.cumsum([0, *sizes]).max())


def peak_memory(make: Callable[[], Work], device: torch.device) -> int:
    """Peak bytes of the second call of the work that `make` sets up, with all that stays between calls.

    On CUDA all memory torch has allocated counts, cuBLAS workspaces too. On the CPU the peak is taken
    over set-up and both calls, so that each byte is counted from its allocation.
    """
    if device.type == "cuda":
        work = make()
        work()
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device)

    def twice() -> None:
        work = make()
        work()
        work()

    return allocated(twice)
