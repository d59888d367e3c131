"""An overlay that is written while its masks are still being made."""

import threading
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from coprop_plugin.media.rewrite import Spans
from coprop_plugin.types import Sampling, spans_of


class GrowingSpans(Spans):
    """Look-up of the span that contains a time, while frames are still added.

    Args:
        sampling: How the frames were chosen.

    Example:
        >>> spans = GrowingSpans("pts")
        >>> for time_s in (0.5, 1.0, 1.5):
        ...     spans.add(time_s)
        >>> spans.at(0.7), spans.at(1.2)
        (0, 1)
        >>> spans.complete()
        >>> spans.at(1.6)
        2
    """

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._times: list[float] = []
        self._first_s: list[float] = []
        self._state: str = "open"
        self._changed = threading.Condition()

    def add(self, time_s: float) -> None:
        """Add the next frame."""
        start_s = float(spans_of(torch.tensor([time_s]).double(), self._sampling)[0, 0])
        with self._changed:
            self._times.append(time_s)
            self._first_s.append(start_s)
            self._changed.notify_all()
