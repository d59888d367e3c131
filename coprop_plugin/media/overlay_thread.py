"""An overlay that a thread writes while its masks are still being made."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor

import torch
from torch import Tensor

from coprop_plugin.media.rewrite import Spans
from coprop_plugin.types import Sampling, spans_of


class GrowingSpans(Spans):
    """Look-up of the span that contains a time, which waits until that span is known.

    Args:
        sampling: How the frames were chosen.

    Example:
        >>> spans = GrowingSpans("pts")
        >>> for time_s in (0.5, 1.0, 1.5):
        ...     spans.add(time_s)
        >>> spans.at(0.7), spans.at(1.2)
        (0, 1)
    """

    def __init__(self, sampling: Sampling) -> None:
        self._sampling: Sampling = sampling
        self._first_s: list[float] = []
        self._is_complete = self._is_cancelled = False
        self._changed = threading.Condition()

    def add(self, time_s: float) -> None:
        """Add the next frame; its mask can be read from now on."""
        frame = torch.tensor([time_s], dtype=torch.float64)
        with self._changed:
            self._first_s.append(float(spans_of(frame, self._sampling)[0, 0]))
            self._changed.notify_all()

    def complete(self, spans: Tensor) -> None:
        """Note that there are no more frames.

        Args:
            spans: `[T, 2]`, those of all frames.
        """
        with self._changed:
            super().__init__(spans)
            self._is_complete = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Raise `CancelledError` in the threads that wait."""
        with self._changed:
            self._is_cancelled = True
            self._changed.notify_all()

    def wait_for(self, index: int) -> None:
        """Wait until a frame is added.

        Raises:
            CancelledError: If there will be none.
        """
        self._wait(lambda: len(self._first_s) > index)

    def at(self, time_s: float) -> int | None:
        """Return the index of the span, as soon as it is known; see `Spans`.

        Raises:
            CancelledError: If it will not be known.
        """
        self._wait(lambda: bool(self._first_s) and self._first_s[-1] > time_s + self.ROUNDING_S)
        if not self._is_complete:
            # A later span has begun, so this one is complete.
            return self.last_started(self._first_s, time_s)
        return super().at(time_s)

    def _wait(self, known: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_cancelled or self._is_complete or known())
            if self._is_cancelled:
                raise CancelledError


class OverlayThread:
    """Writes an overlay in a thread, behind the frames that are added.

    Args:
        write: Writes it, with the spans of the frames.
        sampling: How the frames were chosen.
    """

    def __init__(self, write: Callable[[GrowingSpans], object], sampling: Sampling) -> None:
        self._write, self._spans = write, GrowingSpans(sampling)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="coprop-overlay")

    def start(self) -> None:
        """Start; from now on `close` has to be called, or the thread keeps a program from ending.

        The two are apart because an interrupt may come as the thread starts.
        """
        self._written = self._thread.submit(self._write, self._spans)

    def add(self, time_s: float) -> None:
        """Add the next frame; its mask can be read from now on."""
        self._spans.add(time_s)

    def finish(self, spans: Tensor) -> None:
        """Wait until the overlay is written.

        Args:
            spans: `[T, 2]`, those of all frames.

        Raises:
            MediaError: If it cannot be written.
        """
        self._spans.complete(spans)
        self._written.result()

    def close(self) -> None:
        """End the thread; an overlay that is not finished is not written."""
        self._spans.cancel()
        self._thread.shutdown()
