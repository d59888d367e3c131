"""Control points of what comes next, found while the frames before it are segmented."""

import atexit
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from queue import Full, Queue

from coprop_plugin.control_points.silent_segments import SilentSegments
from coprop_plugin.errors import ControlPointError
from coprop_plugin.pipeline.schedule import KeyframeSchedule, check_points
from coprop_plugin.pipeline.windows import Window
from coprop_plugin.types import Clip, ControlPoints, Hook, StreamingProvider

_POLL_S = 0.1
_EXIT_S = 5.0


class PrefetchedControlPoints:
    """A thread that finds the control points of long audio a little ahead of their use.

    One result waits while the next one is computed; there are no more. Results, and the error that
    ends them, come in order.

    Args:
        provider: A provider with `propose_ahead`.
        clip: The audio.

    Example:
        >>> import torch
        >>> from coprop_plugin.control_points.strategies import OneStepProvider
        >>> provider = OneStepProvider(lambda messages, waveform, rate: "[1, 0, 0, 1, 0]")
        >>> clip = Clip(torch.rand(5, 3, 8, 8), torch.rand(80_000))
        >>> prefetched = PrefetchedControlPoints(provider, clip)
        >>> prefetched.until(2).indices  # frame 2 is shown from 2.94 s on
        [0, 2]
        >>> prefetched.close()
    """

    def __init__(self, provider: StreamingProvider, clip: Clip) -> None:
        self._clip, self._name = clip, type(provider).__name__
        self._results: Queue[tuple[ControlPoints, int] | BaseException] = Queue(maxsize=1)
        self._closed = threading.Event()
        self._final = 0
        parts = provider.propose_ahead(clip)
        # Daemon thread: a pending request must not block interpreter exit, see `_end_all`.
        self._thread = threading.Thread(
            target=self._find, args=(parts,), daemon=True, name="coprop-prefetch"
        )
        self._thread.start()
        _STARTED.add(self)

    def _find(self, parts: Iterator[tuple[ControlPoints, int]]) -> None:
        final = 0
        try:
            for points, final in parts:
                if not self._hand_over((points, final)):
                    return
            if final < self._clip.num_frames:
                raise ControlPointError(
                    f"Expected {self._name}.propose_ahead to end with points that are final for "
                    f"all {self._clip.num_frames} frames, but it ended after {final}. Yield "
                    "`(points, clip.num_frames)` last."
                )
        except BaseException as error:
            self._hand_over(error)

    def _hand_over(self, result: tuple[ControlPoints, int] | BaseException) -> bool:
        while not self._closed.is_set():
            try:
                self._results.put(result, timeout=_POLL_S)
                return True
            except Full:
                continue
        return False

    def until(self, frame: int) -> ControlPoints:
        """Wait for control points that are final for all frames before this one.

        Raises:
            ControlPointError: If the provider ended before them.
            CopropError: Whatever the provider raised for these frames.
        """
        while self._final < frame:
            result = self._results.get()
            if isinstance(result, BaseException):
                # Asked once more, the answer is the same.
                self._results.put(result)
                raise result
            points, self._final = result
            self._points = check_points(points, self._clip)
        return self._points

    @property
    def final(self) -> int:
        """The number of frames for which control points are final."""
        return self._final

    @property
    def all_known(self) -> bool:
        """Whether the control points are final for all frames."""
        return self._final >= self._clip.num_frames

    def close(self) -> None:
        """Find no more."""
        self._closed.set()


_STARTED: "weakref.WeakSet[PrefetchedControlPoints]" = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """Have threads end before the interpreter does: one inside torch's code would abort it."""
    until = time.monotonic() + _EXIT_S
    for prefetched in list(_STARTED):
        prefetched.close()
    for prefetched in list(_STARTED):
        prefetched._thread.join(max(0.0, until - time.monotonic()))


class StreamingSchedule(KeyframeSchedule):
    """A schedule that grows as control points become known.

    Args:
        prefetched: The control points.
        clip: The audio.
        reanchor_s: As for `KeyframeSchedule`.
        start: As for `KeyframeSchedule`.
        silence: Marks segments without sound; None leaves silence to the model. A segment that goes
            on where nothing is final yet is judged by what comes before.
        most_frames: As for `KeyframeSchedule`; then the first segment is the one that `start` lies
            in.

    Raises:
        ControlPointError: As for `KeyframeSchedule`.
        CopropError: Whatever the provider raises for the frames up to `start`.
    """

    def __init__(
        self,
        prefetched: PrefetchedControlPoints,
        clip: Clip,
        reanchor_s: float | None = None,
        start: int = 0,
        silence: SilentSegments | None = None,
        most_frames: int | None = None,
    ) -> None:
        self._prefetched, self._reanchor_s, self._silence = prefetched, reanchor_s, silence
        self._most_frames = most_frames
        points = self._judged(prefetched.until(start + 1))
        if most_frames:
            cut = KeyframeSchedule(points, clip.times, reanchor_s, most_frames=most_frames)
            start = max(index for index in cut.indices if index <= start)
        super().__init__(points, clip.times, reanchor_s, start, most_frames=most_frames)

    def follow(self, windows: Iterable[Window], hook: Hook | None) -> Iterator[Window]:
        """Yield each window when the control points of its frames are final."""
        reported = False
        for window in windows:
            points = self._prefetched.until(window.start + window.clip.num_frames)
            super().__init__(
                self._judged(points),
                self.times,
                self._reanchor_s,
                self.start,
                most_frames=self._most_frames,
            )
            if hook and self._prefetched.all_known and not reported:
                hook("control_points", points, 1, 1)
                reported = True
            yield window

    def _judged(self, points: ControlPoints) -> ControlPoints:
        if self._silence is None:
            return replace(points, silent=None)
        return self._silence.mark(points, self._prefetched.final)
