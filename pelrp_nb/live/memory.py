"""Memory while a model runs: what the accelerator says, else this process."""

from __future__ import annotations

import os
from types import TracebackType

import torch
from torch import nn

from ..engine.support import device_of


class Meter:
    """Reads the highest memory seen inside the `with`, wherever the model is."""

    def __init__(self, model: nn.Module) -> None:
        self.device = device_of(model)
        self.most = 0

    def __enter__(self) -> Meter:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.read()

    def read(self) -> tuple[int, str] | None:
        """(bytes, of what): the peak so far; None where this machine does not say."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device), f"on {self.device}"
        if self.device.type == "mps":
            self.most = max(self.most, torch.mps.current_allocated_memory())
            return self.most, "on mps"
        self.most = max(self.most, of_process())
        return (self.most, "this process") if self.most else None


def of_process() -> int:
    """Bytes of memory that this process holds now (Linux), else its peak so far; 0 where neither can be read."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
        import sys

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    except ImportError:  # Windows
        return 0
