"""Several candidate keyframes a segment, of which those that agree are propagated.

The paper propagates the wrapped model's masks of a segment's first frame, and so spoils the segment
where they are wrong (its section on limitations). Here the model is run on several frames of each
segment, each prediction is propagated over the segment, and they are compared where they meet.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, get_args

import torch
from torch import Tensor

from coprop_plugin.errors import ControlPointError
from coprop_plugin.layers import device_of, evaluating
from coprop_plugin.pipeline.auto_segment import AutoOptions, AutoSegment
from coprop_plugin.pipeline.backend_runner import (
    BATCH_PIXELS,
    Keyframes,
    Runner,
    SegmentIn,
    SegmentKeyframes,
    given_masks,
)
from coprop_plugin.pipeline.mask_logits import MaskLogits, agreement, confidence
from coprop_plugin.pipeline.preset_options import KeyframeName, ReanchorName
from coprop_plugin.pipeline.schedule import (
    check_reanchor,
    frames_of,
)
from coprop_plugin.pipeline.segments import Propagate, both_ways, propagate_batch
from coprop_plugin.pipeline.trusted_keyframes import MIN_AGREEMENT
from coprop_plugin.pipeline.windows import ScheduledWindow
from coprop_plugin.types import Clip, Propagator

# Masks with uncertainty above this are ignored when comparing predictions.
MAX_UNCERTAINTY = 0.5


@dataclass(frozen=True)
class CandidateOptions:
    """Which frames to run the model on, beside the first of each segment, to recover from errors.

    Args:
        candidates: How many frames of a segment the model is run on at first, evenly spread.
        extra: How many more, at most, where predictions disagree or masks are uncertain.
        threshold: Uncertainty (0..1) above which a frame is a further candidate; None for never.
        seconds: At least one candidate in so many seconds.
        segment_s: Longer segments are cut, so that a stream holds little at once.

    Example:
        >>> CandidateOptions.of("confident", None)
        CandidateOptions(candidates=3, extra=2, threshold=None, seconds=None, segment_s=5.0)
        >>> CandidateOptions.of("first", 2.0) is None
        True
    """

    candidates: int = 1
    extra: int = 0
    threshold: float | None = None
    seconds: float | None = None
    segment_s: float = 5.0

    @classmethod
    def of(
        cls,
        keyframe: str | Mapping[str, Any] = "first",
        reanchor: float | str | Mapping[str, Any] | None = None,
    ) -> "CandidateOptions | None":
        """Read the options of `CoProp`; None is one keyframe a segment, the paper's way.

        Raises:
            ControlPointError: If they are not among those that `CoProp` takes.
        """
        defaults: dict[str, Any] = dict(candidates=3, extra=2, segment_s=cls.segment_s)
        chosen = _options(keyframe, "keyframe", get_args(KeyframeName), defaults)
        if reanchor is None or (isinstance(reanchor, Real) and reanchor is not True):
            again: dict[str, Any] = dict(type=None, seconds=reanchor, extra=0, threshold=None)
        else:
            defaults = dict(threshold=0.5, extra=2, seconds=None)
            again = _options(reanchor, "reanchor", get_args(ReanchorName), defaults)
        check_reanchor(again["seconds"])
        is_first = chosen["type"] == "first"
        if is_first and again["type"] is None:
            return None
        made = cls(
            candidates=1 if is_first else chosen["candidates"],
            extra=max(again["extra"], 0 if is_first else chosen["extra"]),
            threshold=again["threshold"],
            seconds=again["seconds"],
            segment_s=chosen["segment_s"],
        )
        made._check()
        return made

    def _check(self) -> None:
        counts = ((self.candidates, 1), (self.extra, 0))
        whole = all(isinstance(number, int) and number >= least for number, least in counts)
        threshold = 0.0 if self.threshold is None else self.threshold
        if not whole or not isinstance(threshold, Real) or not 0 <= threshold <= 1:
            raise ControlPointError(
                "Expected whole numbers, `candidates` from 1 and `extra` from 0, and a `threshold` "
                f"in 0..1 or None; got {self}."
            )
        check_reanchor(self.segment_s)

    def first_frames(self, frames: range, times: Sequence[float] | Tensor) -> list[int]:
        """Return the first candidates of a segment, its first frame among them.

        Args:
            frames: The segment, half-open.
            times: Of every frame that the indices count, in seconds.
        """
        number = min(self.candidates, len(frames))
        chosen = {frames[k * len(frames) // number] for k in range(number)}
        last, longest_s = frames.start, float("inf") if self.seconds is None else self.seconds
        for index in frames:
            if index in chosen or float(times[index] - times[last]) >= longest_s - 1e-6:
                chosen.add(index)
                last = index
        return sorted(chosen)

    def most_frames(self, clip: Clip) -> int:
        """Return the frames of the longest segment, so that what is compared fits into memory."""
        return frames_of(clip, BATCH_PIXELS)

    def segment(
        self,
        window: ScheduledWindow,
        segment: range,
        clip: Clip,
        sound: Tensor | None,
        propagate: Propagate,
        is_silent: bool = False,
    ) -> "CandidateSegment":
        """Return a segment of a window, to be predicted, even if it is silent.

        Args:
            window: Where it begins.
            segment: Its frames in the video.
            clip: The window's, as the propagator takes it; see `ScheduledWindow.clip_for`.
            sound: Audio features of the clip, one row a frame, or None.
            propagate: Propagates masks over segments.
            is_silent: Whether nothing sounds in it.
        """
        shift, times = window.window.start, window.schedule.times
        first = [index - shift for index in self.first_frames(segment, times)]
        return CandidateSegment(clip, window.local(segment), sound, first, self, propagate)


def _options(
    given: Any, name: str, types: Sequence[str], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options of `type` or `dict(type=..., ...)`, with defaults filled in."""
    options = dict(given) if isinstance(given, Mapping) else dict(type=given)
    kind = options.pop("type", None)
    if kind not in types or set(options) - set(defaults):
        known, more = " or ".join(map(repr, types)), ""
        if name == "reanchor":
            more = ", or seconds above 0, or None (`--reanchor never`)"
        raise ControlPointError(
            f"Expected {name} to be {known}, or dict(type={types[-1]!r}) with any of "
            f"{', '.join(defaults)}{more}; got {given!r}."
        )
    return dict(type=kind, **{**defaults, **options})


def keyframe_options(
    keyframe: str | Mapping[str, Any] = "first",
    reanchor: float | str | Mapping[str, Any] | None = None,
) -> CandidateOptions | AutoOptions | None:
    """Read the options of `CoProp`; None is one keyframe a segment, or one every so many seconds.

    Raises:
        ControlPointError: If they are not among those that `CoProp` takes.

    Example:
        >>> keyframe_options(reanchor={"type": "auto", "seconds": 2.0})
        AutoOptions(seconds=2.0, agree=0.8, least_s=0.5, segment_s=5.0)
    """
    kind = reanchor.get("type") if isinstance(reanchor, Mapping) else reanchor
    if kind != "auto":
        return CandidateOptions.of(keyframe, reanchor)
    if keyframe != "first":
        raise ControlPointError(
            "Expected `keyframe` to be left out with reanchor='auto', which compares predictions "
            f"itself; got {keyframe!r}. For its candidates alone, pass reanchor=None."
        )
    options = _options(reanchor, "reanchor", ("auto",), asdict(AutoOptions()))
    return AutoOptions(**{name: value for name, value in options.items() if name != "type"})


class CandidateSegment:
    """The model's predictions for some frames of a segment, and which of them agree.

    Call `requested` and `add` until nothing is requested; then read `keyframes`.

    Args:
        clip: The clip.
        frames: The segment, indices in the clip, half-open.
        sound: Audio features of the whole clip, one row a frame, or None.
        first: The frames to run the model on in any case.
        options: Which further frames to run it on.
        propagate: Propagates masks over segments.
    """

    def __init__(
        self,
        clip: Clip,
        frames: range,
        sound: Tensor | None,
        first: Sequence[int],
        options: CandidateOptions,
        propagate: Propagate,
    ) -> None:
        self.clip, self.frames, self.options = clip, frames, options
        self._sound, self._first, self._propagate = sound, list(first), propagate
        self._trusted: list[int] = []
        self._disagree = False
        self._predictions: dict[int, MaskLogits] = {}
        self._views: dict[int, list[tuple[Tensor, float]]] = {}

    @property
    def requested(self) -> list[int]:
        """The frames to run the model on next; none where enough is known."""
        if not self._predictions:
            return self._first
        if len(self._predictions) >= len(self._first) + self.options.extra:
            return []
        return self._uncertain()

    @property
    def keyframes(self) -> Keyframes:
        """The predictions that are trusted, by frame, rising."""
        return {t: self._predictions[t] for t in self._trusted}

    def add(self, predictions: Keyframes) -> None:
        """Add the model's predictions for requested frames."""
        self._predictions |= predictions
        self._trusted = sorted(self._predictions)
        if len(self._trusted) == 1:
            return
        best, others = self._best()
        agreed = [t for t in self._trusted if t == best or self._trusts(best, t, others[t])]
        self._disagree = len(agreed) == 1
        if self._disagree:
            # Propagated masks are ignored where propagation fails, so only empty ones lose.
            agreed = [t for t in self._trusted if self._own_confidence(t) > 0] or agreed
        self._trusted = agreed

    def _view(self, keyframe: int, t: int) -> tuple[Tensor, float]:
        """Return the mask `[H, W]` that a prediction gives for frame t, and its confidence."""
        if keyframe not in self._views:
            own = self._predictions[keyframe]
            rows = both_ways(self._propagate, self.clip, keyframe, self.frames, self._sound, own)
            self._views[keyframe] = [(row.mask, confidence(row)) for row in rows]
        return self._views[keyframe][t - self.frames.start]

    def _best(self) -> tuple[int, dict[int, float]]:
        """Return the prediction that the others support most, and how far each does, in 0..1."""
        support: dict[int, dict[int, float]] = {a: {} for a in sorted(self._predictions)}
        for a in support:
            for b in support:
                if a < b:
                    support[a][b] = support[b][a] = (self._meets(a, b) + self._meets(b, a)) / 2
        best = max(support, key=lambda a: self._own_confidence(a) + sum(support[a].values()))
        return best, support[best]

    def _meets(self, a: int, b: int) -> float:
        """Return how well the masks propagated from a agree with the prediction at b."""
        return agreement(self._view(a, b)[0], self._view(b, b)[0])

    def _own_confidence(self, t: int) -> float:
        mask, confident = self._view(t, t)
        # Something sounds here, so an empty mask is the least likely prediction.
        return confident if bool(mask.any()) else 0.0

    def _trusts(self, best: int, t: int, agree: float) -> bool:
        """Whether a prediction agrees with the best one, or that one is too uncertain there."""
        return agree >= MIN_AGREEMENT or self._uncertainty(best, t) > MAX_UNCERTAINTY

    def _uncertainty(self, keyframe: int, t: int) -> float:
        """Return how uncertain a prediction is at frame t: 1 where it is empty and alone so."""
        mask, confident = self._view(keyframe, t)
        return 1 - confident if bool(mask.any()) or self._is_confirmed_empty(keyframe) else 1.0

    def _is_confirmed_empty(self, keyframe: int) -> bool:
        """Whether a prediction is empty, and another one is, too."""
        empty = [t for t in self._predictions if not bool(self._view(t, t)[0].any())]
        return keyframe in empty and len(empty) > 1

    def _uncertain(self) -> list[int]:
        """Return the frame to run next: where predictions disagree, else the most uncertain."""
        left = [t for t in self.frames if t not in self._predictions]
        distance = {t: min(abs(k - t) for k in self._predictions) for t in left}
        if self._disagree:
            return [max(distance, key=lambda t: distance[t])] if distance else []
        threshold, doubts = self.options.threshold, {}
        if threshold is None:
            return []
        for t in left:
            doubt = self._uncertainty(min(self._trusted, key=lambda k: abs(k - t)), t)
            if doubt > threshold:
                doubts[t] = (doubt, distance[t])
        return [max(doubts, key=lambda t: doubts[t])] if doubts else []


class CandidateRunner:
    """Runs the model on several frames a segment, and yields the keyframes that agree.

    Args:
        runner: Runs the model.
        propagator: Propagates masks of objects, to compare them.
        options: Which frames to run the model on.
        segment_batch: Most predictions to propagate at once.
    """

    def __init__(
        self,
        runner: Runner,
        propagator: Propagator,
        options: CandidateOptions | AutoOptions,
        segment_batch: int,
    ) -> None:
        self.runner, self.propagator, self.options = runner, propagator, options
        classes = runner.backend.num_classes
        self._propagate: Propagate = lambda segments: propagate_batch(
            propagator, classes, segments, segment_batch
        )

    def run(self, windows: Sequence[ScheduledWindow]) -> Iterator[SegmentKeyframes]:
        """Yield the trusted keyframes of each segment that begins in these windows, in order."""
        kept: dict[int, list[int]] = {id(window): [] for window in windows}
        combined: dict[int, set[int]] = {id(window): set() for window in windows}
        for batch in self.runner.batches(windows):
            if not any(segment.start in window.frames for window, segment in batch):
                continue
            settled = deque[SegmentKeyframes]()
            for (window, segment), found in zip(batch, self._settle(batch), strict=True):
                kept[id(window)] += found.keyframes
                frames = zip(window.local(segment), found.origins, strict=False)
                combined[id(window)] |= {t for t, how in frames if how.kind != "predicted"}
                if segment.start in window.frames:
                    settled.append(found)
            self.runner.keep([*kept.values()], [*combined.values()])
            # Nothing is held here, so that masks that are done with take no memory.
            del found
            while settled:
                yield settled.popleft()

    def _settle(self, batch: Sequence[SegmentIn]) -> list[SegmentKeyframes]:
        """Run the model on what segments request, all of them at once, until none requests more."""
        segments = [self._segment(*each) for each in batch]
        active = [(w, s) for (w, _), s in zip(batch, segments, strict=True) if s]
        while any(requested := [segment.requested for _, segment in active]):
            requests = [(w, frames) for (w, _), frames in zip(active, requested, strict=True)]
            rows = self.runner.run_on(requests)
            for (_, segment), frames, masks in zip(active, requested, rows, strict=True):
                if frames:
                    segment.add(dict(zip(frames, masks, strict=True)))
        return [_settled(segment) for segment in segments]

    def _segment(
        self, window: ScheduledWindow, segment: range
    ) -> CandidateSegment | AutoSegment | None:
        """Return a segment with its first candidates; None where it is silent."""
        schedule, frames = window.schedule, window.local(segment)
        classes, place = self.runner.backend.num_classes, device_of(self.propagator)
        given = given_masks(schedule, segment.start, classes, place)
        silent = schedule.is_silent(segment.start) and not self.runner.runs_on_silence
        if given is None and silent:
            return None
        clip = window.clip_for(self.propagator)
        with torch.no_grad(), evaluating(self.propagator):
            sound = window.audio(self.propagator)
        if given is None:
            is_silent = schedule.is_silent(segment.start)
            return self.options.segment(window, segment, clip, sound, self._propagate, is_silent)
        options = CandidateOptions()
        made = CandidateSegment(clip, frames, sound, [], options, self._propagate)
        made.add({frames.start: given})
        return made


def _settled(segment: CandidateSegment | AutoSegment | None) -> SegmentKeyframes:
    if segment is None:
        return SegmentKeyframes({})
    if isinstance(segment, AutoSegment):
        return SegmentKeyframes(segment.keyframes, segment.masks, segment.origins)
    return SegmentKeyframes(segment.keyframes)
