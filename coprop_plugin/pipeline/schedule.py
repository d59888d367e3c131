"""Which frames the wrapped model is asked about."""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise
from numbers import Real

import torch
from torch import Tensor

from coprop_plugin.errors import ControlPointError
from coprop_plugin.pipeline.mask_logits import ABSENT
from coprop_plugin.types import Clip, ControlPoints

_ROUNDING_S = 1e-6


class Asked:
    """The frames that the wrapped model is asked about: control points, and those between.

    Args:
        points: Where segments begin.
        times: `[T]`, the time of every frame, in seconds.
        reanchor_s: Where the last frame that was asked about lies so many seconds back, the model
            is asked again within a segment; None asks at control points alone, as the paper does.
        start: Which of these frames to begin with.
        stop: Before which of them to end; None is the end of the video, for whoever goes on.
        given: Masks `[H, W]` of class ids that somebody made, by frame. The model is not asked
            there; masks are carried on from them like from its own.
        most_frames: With `reanchor_s`, from how many frames back on the model is asked again, too.

    Raises:
        ControlPointError: If `reanchor_s` is not above 0, or `start` or `stop` is none of the
            frames.

    Example:
        >>> import torch
        >>> points = ControlPoints([1, 0, 0, 0, 0, 1, 0])
        >>> Asked(points, torch.arange(7) / 2, reanchor_s=1.0).indices
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
        self.indices = points.indices
        if reanchor_s is not None:
            most_frames = most_frames or points.num_frames
            self.indices = _with_more(points, times.tolist(), reanchor_s - _ROUNDING_S, most_frames)
        self.indices = sorted({*self.indices, *self.given})
        self._set = frozenset(self.indices)
        self.start, self.stop = start, points.num_frames if stop is None else stop
        # Whoever goes on asks about the same frames at once as whoever goes through.
        self.first_put = 0 if stop is None else start
        for name, index in (("start", start), ("stop", self.stop)):
            if index not in self._set and (name, index) != ("stop", points.num_frames):
                raise ControlPointError(
                    f"Got {name}={index}, a frame that the model is not asked about; masks are "
                    "carried there from before. Take the last one that it is asked about: "
                    f"{max((i for i in self.indices if i < index), default=0)}."
                )

    def __contains__(self, index: int) -> bool:
        return index in self._set

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def bounds(self) -> list[int]:
        """Where stretches begin that are carried by themselves; last, where to stop."""
        return [*(i for i in self.indices if i < self.stop), self.stop]

    @property
    def stretches(self) -> list[range]:
        """What is carried by itself, wherever to start and stop: half-open, every frame once."""
        return [range(*ends) for ends in pairwise([*self.indices, self.points.num_frames])]

    def segment_of(self, index: int) -> int:
        """Return the number of the segment that a frame is in."""
        return bisect_right(self.points.indices, index) - 1

    def is_silent(self, index: int) -> bool:
        """Whether nothing can be heard in the segment of a frame, so that nothing is asked."""
        return self.points.is_silent(self.points.indices[self.segment_of(index)])

    def is_put_to_model(self, index: int) -> bool:
        """Whether the model has to say what sounds in one of these frames."""
        return index not in self.given and not self.is_silent(index)

    def given_logits(self, index: int, num_classes: int) -> Tensor | None:
        """Return a given mask as sure logits `[C, H, W]`; None where none is given."""
        if index not in self.given:
            return None
        mask = self.given[index]
        classes = torch.arange(num_classes) if num_classes > 1 else torch.ones(1)
        return torch.where(mask[None] == classes[:, None, None], -ABSENT, ABSENT)


def checked(points: ControlPoints, clip: Clip) -> ControlPoints:
    """Return control points that fit a clip.

    Raises:
        ControlPointError: If they are not one flag a frame.
    """
    if points.num_frames != clip.num_frames:
        raise ControlPointError(
            f"Got {points.num_frames} flags from {points.source!r} for a clip of "
            f"{clip.num_frames} frames; there must be one a frame. If they were made for "
            "another frame rate, pass that rate as `fps`."
        )
    return points


def check_reanchor(reanchor_s: float | None) -> None:
    """Refuse what is no time.

    Raises:
        ControlPointError: If it is neither None nor a number above 0.
    """
    if reanchor_s is not None and not (isinstance(reanchor_s, Real) and reanchor_s > 0):
        raise ControlPointError(
            f"Got reanchor={reanchor_s!r}; wanted seconds above 0 after which the model is asked "
            "again within a segment, or None for never."
        )


def _with_more(
    points: ControlPoints, times: list[float], reanchor_s: float, most_frames: int
) -> list[int]:
    indices: list[int] = []
    for segment in points.segments:
        indices.append(segment.start)
        for index in () if points.is_silent(segment.start) else segment[1:]:
            waited_s, waited = times[index] - times[indices[-1]], index - indices[-1]
            if waited_s >= reanchor_s or waited >= most_frames:
                indices.append(index)
    return indices
