"""What a piece of work costs: time, and the most memory that was held."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

Made = TypeVar("Made")


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
        return Cost(self.seconds / number, self.cpu_seconds / number, self.peak_mb, self.gpu_mb)


def measured(work: Callable[[], Made]) -> tuple[Made, Cost]:
    """Do some work; returns what it returns, and what it cost. Not to be nested.

    Example:
        >>> made, cost = measured(lambda: sum(range(10)))
        >>> made, cost.seconds >= 0
        (45, True)
    """
    gpu, resident = torch.cuda.is_initialized(), _begin_peak()
    if gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    if gpu:
        torch.cuda.synchronize()
    return made, Cost(
        time.perf_counter() - wall,
        time.process_time() - cpu,
        _peak_mb() if resident else None,
        torch.cuda.max_memory_allocated() / 2**20 if gpu else None,
    )


def _begin_peak() -> bool:
    """Have Linux forget the peak so far; returns whether it does."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak_mb() -> float | None:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None


def _larger(one: float | None, other: float | None) -> float | None:
    known = [peak for peak in (one, other) if peak is not None]
    return max(known) if known else None
