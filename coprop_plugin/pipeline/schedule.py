"""Frames at which the wrapped model is run, and the segments that begin there."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from numbers import Real

import torch
from torch import Tensor

from coprop_plugin.errors import ControlPointError
from coprop_plugin.types import ABSENT_LOGIT, Clip, ControlPoints

_ROUNDING_S = 1e-6


class KeyframeSchedule:
    """Frames at which the wrapped model is run: control points, and further ones between them.

    Every scheduled frame begins a segment, over which its masks are propagated.

    Args:
        points: Control points of the whole video.
        times: `[T]`, the time of every frame, in seconds.
        reanchor_s: Run the model again within a segment when its last keyframe is so many seconds
            old. None runs it at control points alone, as the paper does.
        start: First frame to compute, one that begins a segment.
        stop: Frame before which to stop, one that begins a segment; None is the end of the video.
        given: Masks `[H, W]` of class ids by frame, e.g. painted by hand. They are propagated
            instead of the model's own.
        most_frames: With `reanchor_s`, also run the model again after so many frames.

    Attributes:
        indices: The scheduled frames, rising.
        first_run: First frame at which the model is run. A resumed run must batch the same frames
            as an uninterrupted one, so this is 0 where `stop` is None.

    Raises:
        ControlPointError: If `reanchor_s` is not above 0, or no segment begins at `start` or
            `stop`.

    Example:
        >>> import torch
        >>> points = ControlPoints([1, 0, 0, 0, 0, 1, 0])
        >>> KeyframeSchedule(points, torch.arange(7) / 2, reanchor_s=1.0).indices
        [0, 2, 4, 5]
    """

    def __init__(
        self,
        points: ControlPoints,
        times: Tensor,
        reanchor_s: float | None = None,
        start: int = 0,
        stop: int | None = None,
        given: Mapping[int, Tensor] | None = None,
        most_frames: int | None = None,
    ) -> None:
        check_reanchor(reanchor_s)
        self.points, self.times, self.given = points, times, given or {}
        indices = points.indices
        if reanchor_s is not None:
            most_frames = most_frames or points.num_frames
            indices = _with_more(points, times.tolist(), reanchor_s - _ROUNDING_S, most_frames)
        self.indices = sorted({*indices, *self.given})
        self.start, self.stop = start, points.num_frames if stop is None else stop
        self.first_run = 0 if stop is None else start
        self._set = frozenset(self.indices)
        for name, index in (("start", start), ("stop", self.stop)):
            if index not in self._set and (name, index) != ("stop", points.num_frames):
                before = max((i for i in self.indices if i < index), default=0)
                raise ControlPointError(
                    f"{name}={index} is not a keyframe. A run can resume or end only at a "
                    f"keyframe; the previous one is {before}."
                )

    def __contains__(self, index: int) -> bool:
        return index in self._set

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def segments(self) -> list[range]:
        """All segments, half-open, whatever `start` and `stop` are; every frame once."""
        return [range(*ends) for ends in pairwise([*self.indices, self.points.num_frames])]

    def segments_in(self, frames: range) -> list[range]:
        """Return the segments that begin in a range of frames."""
        first, last = (bisect_left(self.indices, end) for end in (frames.start, frames.stop))
        ends = [*self.indices[first : last + 1], self.points.num_frames]
        return [range(*pair) for pair in pairwise(ends[: last - first + 1])]

    def end_of_segment(self, index: int) -> int:
        """Return the first frame after the segment that a frame lies in."""
        following = bisect_right(self.indices, index)
        ends = self.indices[following : following + 1]
        return ends[0] if ends else self.points.num_frames

    def segment_of(self, index: int) -> int:
        """Return the number of the segment between control points that a frame lies in."""
        return bisect_right(self.points.indices, index) - 1

    def is_silent(self, index: int) -> bool:
        """Whether a frame's segment is silent, so that the model is not run."""
        return self.points.is_silent(self.points.indices[self.segment_of(index)])

    def runs_model(self, index: int) -> bool:
        """Whether the model is run at a scheduled frame: it is not silent and no mask is given."""
        return index not in self.given and not self.is_silent(index)

    def given_logits(self, index: int, num_classes: int) -> Tensor | None:
        """Return a given mask as certain logits `[C, H, W]`; None where none is given."""
        if index not in self.given:
            return None
        mask = self.given[index]
        classes = torch.arange(num_classes) if num_classes > 1 else torch.ones(1)
        present = mask[None] == classes[:, None, None]
        return torch.where(present, -ABSENT_LOGIT, ABSENT_LOGIT).float()


def cut_schedule(
    points: ControlPoints,
    clip: Clip,
    segment_s: float,
    most_frames: int,
    start: int = 0,
    stop: int | None = None,
    given: Mapping[int, Tensor] | None = None,
) -> KeyframeSchedule:
    """Return a schedule whose segments are those between control points, long ones cut.

    Args:
        points: The control points.
        clip: The video.
        segment_s: The longest segment, in seconds.
        most_frames: And in frames.
        start: A frame; its segment is the first one.
        stop: A frame; the segment of the one before it is the last one.
        given: As for `KeyframeSchedule`.
    """
    cut = partial(
        KeyframeSchedule, points, clip.times, segment_s, given=given, most_frames=most_frames
    )
    bounds = [*cut().indices, points.num_frames]
    start = max((i for i in bounds[:-1] if i <= start), default=start)
    if stop is not None:
        stop = min((i for i in bounds if i >= stop), default=stop)
    return cut(start=start, stop=stop)


def frames_of(clip: Clip, pixels: int) -> int:
    """Return how many frames of a clip's size have so many pixels, at least one."""
    height, width = clip.size
    return max(1, pixels // (height * width))


def check_points(points: ControlPoints, clip: Clip) -> ControlPoints:
    """Return control points that fit a clip.

    Raises:
        ControlPointError: If there is not one flag a frame.
    """
    if points.num_frames != clip.num_frames:
        raise ControlPointError(
            f"Expected one flag a frame for a clip of {clip.num_frames} frames, got "
            f"{points.num_frames} from {points.source!r}. If they were made for another frame "
            "rate, pass that rate as `fps`."
        )
    return points


def check_reanchor(reanchor_s: float | None) -> None:
    """Check that an age is None or a number of seconds above 0.

    Raises:
        ControlPointError: If it is neither.
    """
    if reanchor_s is not None and not (isinstance(reanchor_s, Real) and reanchor_s > 0):
        raise ControlPointError(
            "Expected `reanchor` in seconds above 0, after which the model is run again within a "
            f"segment, or None for never; got {reanchor_s!r}."
        )


def _with_more(
    points: ControlPoints, times: Sequence[float], reanchor_s: float, most_frames: int
) -> list[int]:
    indices: list[int] = []
    for segment in points.segments:
        indices.append(segment.start)
        for index in () if points.is_silent(segment.start) else segment[1:]:
            age_s, age = times[index] - times[indices[-1]], index - indices[-1]
            if age_s >= reanchor_s or age >= most_frames:
                indices.append(index)
    return indices
