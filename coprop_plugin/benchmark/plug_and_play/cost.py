"""The cost of a piece of work: time and peak memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

Made = TypeVar("Made")
_RESET = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Cost:
    """Time and memory.

    Attributes:
        seconds: Wall-clock time.
        cpu_seconds: CPU time of all threads.
        peak_mb: Peak resident memory of the process, in MiB; None where the system does not
            report it (Linux does).
        gpu_mb: Peak memory of tensors on the current GPU, in MiB; None without one.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float | None = None
    gpu_mb: float | None = None

    def __add__(self, other: "Cost") -> "Cost":
        """Return the cost of both, one after the other."""
        return Cost(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            _larger(self.peak_mb, other.peak_mb),
            _larger(self.gpu_mb, other.gpu_mb),
        )

    def shared_by(self, number: int) -> "Cost":
        """Return the cost of one of `number` equal pieces; each needs all the memory."""
        return replace(self, seconds=self.seconds / number, cpu_seconds=self.cpu_seconds / number)

    def without(self, part: "Cost") -> "Cost":
        """Return the cost as if a part of the work had taken no time."""
        return replace(
            self,
            seconds=self.seconds - part.seconds,
            cpu_seconds=self.cpu_seconds - part.cpu_seconds,
        )


_open: list["_Peaks"] = []
"""Peaks of the work being measured, the innermost last."""


@dataclass
class _Peaks:
    resident_mb: float | None = None
    gpu_mb: float | None = None

    def raise_to(self, other: "_Peaks") -> None:
        self.resident_mb = _larger(self.resident_mb, other.resident_mb)
        self.gpu_mb = _larger(self.gpu_mb, other.gpu_mb)


def measured(work: Callable[[], Made]) -> tuple[Made, Cost]:
    """Do some work; returns its return value and its cost.

    Work may measure parts of itself; their cost is included in its own.

    Example:
        >>> made, cost = measured(lambda: sum(range(10)))
        >>> made, cost.seconds >= 0
        (45, True)
    """
    _raise_peaks()
    _reset_peaks()
    mine = _Peaks()
    _open.append(mine)
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        made = work()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    finally:
        _raise_peaks()
        _open.pop()
    return made, Cost(seconds, cpu_seconds, mine.resident_mb, mine.gpu_mb)


def _raise_peaks() -> None:
    """Raise the open peaks to the memory reached since the last reset."""
    gpu_mb = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_initialized() else None
    reached = _Peaks(_resident_peak_mb() if _can_reset() else None, gpu_mb)
    for peaks in _open:
        peaks.raise_to(reached)


def _reset_peaks() -> None:
    if _can_reset():
        _RESET.write_text("5")
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()


@cache
def _can_reset() -> bool:
    """Whether the system can reset the peak; Linux can."""
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def _resident_peak_mb() -> float | None:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None


def _larger(one: float | None, other: float | None) -> float | None:
    known = [peak for peak in (one, other) if peak is not None]
    return max(known) if known else None
