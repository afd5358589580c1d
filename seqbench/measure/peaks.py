"""What the device can do at best, and in which kernels the time goes: by the clock, and by the profiler."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import psutil
import torch
from torch.profiler import ProfilerActivity, profile

from seqbench.measure import clock
from seqbench.measurements import Peak

SIZES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
"""Rows and columns of the matrices of `peaks`."""
BUFFER = {"cpu": 2**28, "cuda": 2**30}
"""Bytes that are copied: many times the caches; less where memory is small."""
LEAST = 3
"""Fewest repetitions."""
LONGEST = 120
"""Letters of a kernel's name: templates of C++ write novels."""


# ---------------------------------------------------------------- what the device can do


def _rates(work: Callable[[], object], amount: float, seconds: float, device: torch.device) -> list[float]:
    """Amount per second of each repetition, after one that is not timed, for so many seconds."""
    work()
    taken = clock.repeat(work, LEAST, sys.maxsize, seconds, partial(clock.now, device))
    return [amount / one for one in taken]


def _products(device: torch.device, seconds: float) -> list[float]:
    """Operations per second of the size of matrices that does best, tried first and then timed anew."""

    def rates(size: int, limit: float) -> list[float]:
        a, b = torch.rand(2, size, size, device=device)
        out = torch.empty(size, size, device=device)
        return _rates(lambda: torch.mm(a, b, out=out), 2.0 * size**3, limit, device)

    best = max(SIZES[device.type], key=lambda size: np.median(rates(size, 0.0)))
    return rates(best, seconds)


def _copies(device: torch.device, seconds: float) -> list[float]:
    """Bytes per second, read and written."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    source = torch.ones(min(BUFFER[device.type], free // 8) // 4, device=device)
    target = torch.empty_like(source)
    return _rates(lambda: target.copy_(source), 2.0 * source.numel() * 4, seconds, device)


def peaks(device: torch.device, threads: int, seconds: float) -> Peak:
    """What the device does at best with so many threads: float32 products, and copying; about `seconds` each.

    The roof of a roofline (Williams et al. 2009). TF32 is as the caller set it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            flops, traffic = clock.quantiles(_products(device, seconds)), clock.quantiles(_copies(device, seconds))
    finally:
        torch.set_num_threads(before)
    return Peak(threads=threads, flops=flops, traffic=traffic)


# ---------------------------------------------------------------- where the time goes


def kernels(work: Callable[[], object], device: torch.device, most: int = 5) -> tuple[str, ...]:
    """The costliest kernels of one call, costliest first, with their share: "aten::mkldnn_rnn_layer 61 %".

    On CUDA the kernels' own names, on a CPU the operators by their time without that of others they call;
    shares are of all kernels, or operators. One call before is not recorded.
    """
    cuda = device.type == "cuda"
    work()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as record:
        work()
        if cuda:
            torch.cuda.synchronize(device)
    taken: dict[str, float] = {}
    for event in record.key_averages():
        if cuda and event.device_type.name == "CUDA" and not event.is_user_annotation:
            taken[event.key] = taken.get(event.key, 0.0) + event.self_device_time_total
        elif not cuda and event.key.count("::") == 1:
            taken[event.key] = taken.get(event.key, 0.0) + event.self_cpu_time_total
    total = sum(taken.values())
    costliest = sorted(taken, key=lambda name: -taken[name])[:most]
    return tuple(f"{name[:LONGEST]} {100 * taken[name] / total:.0f} %" for name in costliest if taken[name] > 0)
