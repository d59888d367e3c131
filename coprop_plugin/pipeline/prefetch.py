"""Control points that are asked about while the pictures before them are segmented."""

import threading
from collections.abc import Iterable, Iterator
from queue import Full, Queue
from typing import Any

from coprop_plugin.pipeline.schedule import Asked, checked
from coprop_plugin.pipeline.windows import Window
from coprop_plugin.types import Clip, ControlPointProvider, ControlPoints, Hook

_LOOK_S = 0.1


class PointsAhead:
    """A thread that asks for the control points of a long sound, a little ahead of who needs them.

    One answer waits while the next question is under way; there are no more. Answers, and the error
    that ends them, come in their order whenever they arrive.

    Args:
        provider: With `propose_ahead(clip)`, see `ControlPointProvider`.
        clip: The sound.

    Example:
        >>> import torch
        >>> from coprop_plugin.control_points.strategies import OneStepProvider
        >>> provider = OneStepProvider(lambda messages, waveform, rate: "[1, 0, 0, 1, 0]")
        >>> coming = PointsAhead(provider, Clip(torch.rand(5, 3, 8, 8), torch.rand(80_000)))
        >>> coming.until(2).indices  # frame 2 is shown from 2.94 s on
        [0, 2]
        >>> coming.close()
    """

    def __init__(self, provider: ControlPointProvider, clip: Clip) -> None:
        self._clip = clip
        self._answers: Queue[Any] = Queue(maxsize=1)
        self._closed = threading.Event()
        self._settled = 0
        parts = provider.propose_ahead(clip)
        # Nobody waits for a question that is under way when all is over.
        ask = threading.Thread(target=self._ask, args=(parts,), daemon=True, name="coprop-ahead")
        ask.start()

    def _ask(self, parts: Iterator[tuple[ControlPoints, int]]) -> None:
        try:
            for part in parts:
                if not self._hand_over(part):
                    return
        except BaseException as error:
            self._hand_over(error)

    def _hand_over(self, answer: Any) -> bool:
        while not self._closed.is_set():
            try:
                self._answers.put(answer, timeout=_LOOK_S)
                return True
            except Full:
                continue
        return False

    def until(self, frame: int) -> ControlPoints:
        """Return control points that hold for all frames before this one; waits for them.

        Raises:
            CopropError: Whatever the provider raised where it asked about these frames.
        """
        while self._settled < frame:
            answer = self._answers.get()
            if isinstance(answer, BaseException):
                raise answer
            points, self._settled = answer
            self._points = checked(points, self._clip)
        return self._points

    @property
    def all_known(self) -> bool:
        """Whether the last answer was needed."""
        return self._settled >= self._clip.num_frames

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()


class AskedAhead(Asked):
    """The frames that the wrapped model is asked about, as far as they are known.

    Args:
        coming: The control points.
        clip: The sound.
        reanchor_s: As for `Asked`.
        start: As for `Asked`.

    Raises:
        ControlPointError: As of `Asked`.
        CopropError: Whatever the provider raises where it asks about what comes before `start`.
    """

    def __init__(
        self, coming: PointsAhead, clip: Clip, reanchor_s: float | None, start: int
    ) -> None:
        self._coming, self._reanchor_s = coming, reanchor_s
        super().__init__(coming.until(start + 1), clip.times, reanchor_s, start)

    def in_time(self, windows: Iterable[Window], hook: Hook | None) -> Iterator[Window]:
        """Yield windows, each when all that it needs is known."""
        told = False
        for window in windows:
            points = self._coming.until(window.start + window.clip.num_frames)
            super().__init__(points, self.times, self._reanchor_s, self.start)
            if hook and self._coming.all_known and not told:
                hook("control_points", points, 1, 1)
                told = True
            yield window
