"""The GPU in the eyes of its driver: NVML, by the package nvidia-ml-py, imported only where it is asked."""

from __future__ import annotations

import importlib
from typing import Any

import torch

SLOWDOWNS = 0x8 | 0x20 | 0x40 | 0x80
"""Reasons for a low clock that are no choice of the driver's: hardware slowdown, heat (by software, by hardware), power
brake (nvml.h, nvmlClocksEventReason...). Not the usual cap of power."""


def find(device: torch.device) -> tuple[Any, Any]:
    """NVML and its handle of the GPU with the device's UUID: its own numbers know nothing of CUDA_VISIBLE_DEVICES.

    Raises ImportError without the package, pynvml.NVMLError where the driver does not answer.
    """
    library: Any = importlib.import_module("pynvml")
    library.nvmlInit()
    return library, library.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")


def slowed(device: torch.device) -> bool:
    """Whether the GPU says that heat or a lack of power slows it down; False where it does not say."""
    try:
        library, handle = find(device)
        reasons = int(library.nvmlDeviceGetCurrentClocksEventReasons(handle))
    except Exception:  # no NVML, or a GPU that does not say
        return False
    return bool(reasons & SLOWDOWNS)
