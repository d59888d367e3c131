"""What a piece of work costs: time, and the most memory that was held."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

Made = TypeVar("Made")
_FORGET = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Cost:
    """Time and memory.

    Attributes:
        seconds: By the clock on the wall.
        cpu_seconds: Of all threads together.
        peak_mb: Most resident memory of the whole process meanwhile, in MiB; None where the
            system does not tell (it is Linux that does).
        gpu_mb: Most memory of tensors on the current GPU, in MiB; None without one.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float | None = None
    gpu_mb: float | None = None

    def __add__(self, other: "Cost") -> "Cost":
        """Return the cost of one after the other."""
        return Cost(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            _larger(self.peak_mb, other.peak_mb),
            _larger(self.gpu_mb, other.gpu_mb),
        )

    def shared_by(self, number: int) -> "Cost":
        """Return what each of `number` equal pieces cost; each needed all the memory."""
        return replace(self, seconds=self.seconds / number, cpu_seconds=self.cpu_seconds / number)

    def without(self, part: "Cost") -> "Cost":
        """Return what is left when a part has taken no time."""
        return replace(
            self,
            seconds=self.seconds - part.seconds,
            cpu_seconds=self.cpu_seconds - part.cpu_seconds,
        )


_open: list["_Peaks"] = []
"""The peaks of what is being measured, the innermost last."""


@dataclass
class _Peaks:
    resident_mb: float | None = None
    gpu_mb: float | None = None

    def raise_to(self, other: "_Peaks") -> None:
        self.resident_mb = _larger(self.resident_mb, other.resident_mb)
        self.gpu_mb = _larger(self.gpu_mb, other.gpu_mb)


def measured(work: Callable[[], Made]) -> tuple[Made, Cost]:
    """Do some work; returns what it returns, and what it cost.

    Work may measure parts of itself; their cost is part of its own.

    Example:
        >>> made, cost = measured(lambda: sum(range(10)))
        >>> made, cost.seconds >= 0
        (45, True)
    """
    _note_peaks()
    _forget_peaks()
    mine = _Peaks()
    _open.append(mine)
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        made = work()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    finally:
        _note_peaks()
        _open.pop()
    return made, Cost(seconds, cpu_seconds, mine.resident_mb, mine.gpu_mb)


def _note_peaks() -> None:
    """Raise the peaks of all that is being measured to what was reached since the last reset."""
    gpu_mb = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_initialized() else None
    reached = _Peaks(_resident_peak_mb() if _can_forget() else None, gpu_mb)
    for peaks in _open:
        peaks.raise_to(reached)


def _forget_peaks() -> None:
    if _can_forget():
        _FORGET.write_text("5")
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()


@cache
def _can_forget() -> bool:
    """Say whether the system forgets the peak so far when told to: Linux does."""
    try:
        _FORGET.write_text("5")
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
