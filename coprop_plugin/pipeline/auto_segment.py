"""Keyframes chosen where they are needed, checked against one another, and combined.

Neither the age of a mask nor its own doubt tells whether it is still right; a second prediction
does. So the model is run every second, and again between two predictions that disagree, until it is
known which of them is wrong or where the sound changed. Of predictions that agree with no other
one, those that look wrong are left out first. Masks between trusted predictions are propagated from
both sides and combined.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat

from torch import Tensor

from coprop_plugin.errors import ControlPointError
from coprop_plugin.pipeline.backend_runner import BATCH_PIXELS, SILENT, Keyframes
from coprop_plugin.pipeline.mask_doubt import mask_doubt
from coprop_plugin.pipeline.mask_logits import MaskLogits, agreement, combined
from coprop_plugin.pipeline.schedule import (
    check_reanchor,
    frames_of,
)
from coprop_plugin.pipeline.segments import Propagate, Segment
from coprop_plugin.pipeline.trusted_keyframes import trusted_runs
from coprop_plugin.pipeline.windows import ScheduledWindow
from coprop_plugin.types import Clip, MaskKind, MaskOrigin

_ROUNDING_S = 1e-6


@dataclass(frozen=True)
class AutoOptions:
    """Options of `reanchor="auto"`.

    Args:
        seconds: The model is run at least so often within a segment, and on its last frame.
        agree: It is run again between two predictions whose overlap (IoU, 0..1) is less, each
            propagated to the other's frame.
        least_s: But not between predictions so close in time.
        segment_s: Longer segments are cut, so that a stream holds little at once.

    Raises:
        ControlPointError: If a time is not above 0, or `agree` not in 0..1.
    """

    seconds: float = 1.0
    agree: float = 0.8
    least_s: float = 0.5
    segment_s: float = 5.0

    def __post_init__(self) -> None:
        for seconds in (self.seconds, self.least_s, self.segment_s):
            check_reanchor(seconds)
        if not 0 <= self.agree <= 1:
            raise ControlPointError(f"Expected `agree` in 0..1, got {self.agree!r}.")

    def first_frames(self, frames: range, times: Sequence[float] | Tensor) -> list[int]:
        """Return the frames of a segment to run the model on in any case.

        They are its first and last one, one every `seconds`, and three if there are so many: two
        that disagree do not tell which is wrong.

        Args:
            frames: The segment, half-open.
            times: Of every frame that the indices count, in seconds.

        Example:
            >>> AutoOptions().first_frames(range(0, 9), [t / 4 for t in range(9)])
            [0, 4, 8]
        """
        chosen = [frames.start]
        for t in frames:
            if float(times[t] - times[chosen[-1]]) >= self.seconds - _ROUNDING_S:
                chosen.append(t)
        if frames[-1] not in chosen:
            chosen.append(frames[-1])
        if len(chosen) == 2 and len(frames) > 2:
            chosen.append(frames[len(frames) // 2])
        return sorted(chosen)

    def most_frames(self, clip: Clip) -> int:
        """Return the frames of the longest segment, so that what is compared fits into memory."""
        # Probabilities are kept, not only masks.
        return frames_of(clip, BATCH_PIXELS // 2)

    def segment(
        self,
        window: ScheduledWindow,
        segment: range,
        clip: Clip,
        sound: Tensor | None,
        propagate: Propagate,
        is_silent: bool = False,
    ) -> "AutoSegment":
        """Return a segment of a window, to be predicted; a silent one on its first frame alone.

        The arguments are those of `CandidateOptions.segment`.
        """
        start, frames = window.window.start, window.local(segment)
        return AutoSegment(clip, frames, start, sound, self, propagate, is_silent)


class AutoSegment:
    """The predictions of a segment, where the next ones are needed, and the masks they give.

    Call `requested` and `add` until nothing is requested; then read `keyframes`, `masks` and
    `origins`.

    Args:
        clip: The clip.
        frames: The segment, indices in the clip, half-open.
        start: Index in the video of the clip's first frame.
        sound: Audio features of the whole clip, one row a frame, or None.
        options: When to run the model.
        propagate: Propagates masks over segments.
        is_silent: Whether nothing sounds in it: its masks are empty. The model is run on its first
            frame all the same, for a drop-in call's other outputs.
    """

    def __init__(
        self,
        clip: Clip,
        frames: range,
        start: int,
        sound: Tensor | None,
        options: AutoOptions,
        propagate: Propagate,
        is_silent: bool = False,
    ) -> None:
        self.is_silent = is_silent
        self.clip, self.frames, self.options = clip, frames, options
        self._start, self._sound, self._propagate = start, sound, propagate
        self._times: list[float] = clip.times.tolist()
        self._predictions: dict[int, MaskLogits] = {}
        self._views: dict[tuple[int, int], MaskLogits] = {}
        self._agreements: dict[tuple[int, int], float] = {}
        self._runs: list[list[int]] = []

    @property
    def requested(self) -> list[int]:
        """The frames to run the model on next; none where enough is known."""
        if self.is_silent:
            return [] if self._predictions else [self.frames.start]
        if not self._predictions:
            return self.options.first_frames(self.frames, self._times)
        return [
            (t + later) // 2
            for t, later in pairwise(sorted(self._predictions))
            if later - t > 1
            and self._times[later] - self._times[t] > self.options.least_s + _ROUNDING_S
            and self._agreement(t, later) < self.options.agree
        ]

    def add(self, predictions: Keyframes) -> None:
        """Add the model's predictions for requested frames."""
        self._predictions |= predictions
        self._runs = []
        self._views |= {(t, t): masks for t, masks in predictions.items()}
        pairs = pairwise(sorted(self._predictions))
        self._view_all([way for t, later in pairs for way in ((t, later), (later, t))])

    @property
    def keyframes(self) -> Keyframes:
        """The predictions that are trusted, by frame, rising."""
        return {t: self._predictions[t] for run in self._trusted for t in run}

    @property
    def masks(self) -> Iterator[MaskLogits]:
        """The masks of every frame, each combined when it is asked for."""
        if self.is_silent:
            own = self._predictions[self.frames.start]
            return repeat(MaskLogits((), own.logits[:0], own.num_classes), len(self.frames))
        weights = {t: self._weights(t) for t in self.frames}
        used: dict[int, list[int]] = {}
        for t, keyframes in weights.items():
            for k in keyframes:
                used.setdefault(k, []).append(t)
        self._view_all([(k, t) for k, ts in used.items() for t in (min(ts), max(ts))])
        # These alone are held, and each no longer than needed.
        views = deque(
            ([self._views[k, t] for k in keyframes], [*keyframes.values()])
            for t, keyframes in weights.items()
        )
        return (combined(*views.popleft()) for _ in range(len(views)))

    @property
    def origins(self) -> list[MaskOrigin]:
        """Where the masks of every frame come from."""
        if self.is_silent:
            return [SILENT] * len(self.frames)
        return [self._origin(t) for t in self.frames]

    @property
    def _trusted(self) -> list[list[int]]:
        if not self._runs:
            times = {t: self._times[t] for t in sorted(self._predictions)}
            self._runs = trusted_runs(times, self._agreement, self._doubt)
        return self._runs

    def _agreement(self, t: int, later: int) -> float:
        """Return how well two predictions agree, each propagated to the other's frame: 0..1."""
        if (t, later) not in self._agreements:
            ways = ((t, later), (later, t))
            self._view_all(ways)
            each = [self._meets(keyframe, other) for keyframe, other in ways]
            self._agreements[t, later] = sum(each) / 2
        return self._agreements[t, later]

    def _meets(self, keyframe: int, other: int) -> float:
        propagated, own = (self._views[k, other].mask for k in (keyframe, other))
        return agreement(propagated, own.to(propagated.device))

    def _doubt(self, t: int) -> float:
        """Return how much a prediction looks like a wrong one."""
        return mask_doubt(self.clip.frames[t], self._predictions[t].mask)

    def _view_all(self, ways: Sequence[tuple[int, int]]) -> None:
        """Propagate predictions up to further frames, all that is missing at once."""
        missing = [way for way in dict.fromkeys(ways) if way not in self._views]
        spans = [range(t, end + 1) if end > t else range(t, end - 1, -1) for t, end in missing]
        segments = [
            Segment(self.clip, span, self._sound, self._predictions[span[0]]) for span in spans
        ]
        for span, rows in zip(spans, self._propagate(segments), strict=True):
            self._views |= {(span[0], t): masks for t, masks in zip(span, rows, strict=True)}

    def _weights(self, t: int) -> dict[int, float]:
        """Return the keyframes that frame t is combined from, and how much each counts."""
        begun = [n for n, run in enumerate(self._trusted) if run[0] <= t]
        run = self._trusted[begun[-1] if begun else 0]
        before, after = [k for k in run if k < t][-1:], [k for k in run if k > t][:1]
        near = [*before, *([t] if t in run else []), *after]
        gap_s = (self._times[near[-1]] - self._times[near[0]]) / max(1, len(near) - 1)
        ages_s = {k: abs(self._times[k] - self._times[t]) for k in near}
        return {k: math.exp(-age_s / gap_s) if gap_s else 1.0 for k, age_s in ages_s.items()}

    def _origin(self, t: int) -> MaskOrigin:
        used = list(self._weights(t))
        frames = tuple(k + self._start for k in used)
        if t in self._predictions and t not in used:
            why = "the prediction of this frame contradicts those around it"
        elif used == [t]:
            why = "no other keyframe near it agrees" if len(self._trusted) > 1 else "alone"
        elif t in used:
            why = "this prediction and those before and after it, which agree"
        elif len(used) == 1:
            changes = [run[0] for run in self._trusted[1:]]
            where = "before a change" if any(c > t for c in changes) else "the last keyframe"
            why = where if used[0] < t else "the first trusted keyframe"
        else:
            why = "the keyframes before and after it agree"
        kind: MaskKind = "combined" if len(used) > 1 else "carried"
        return MaskOrigin("predicted" if used == [t] else kind, frames, why)
