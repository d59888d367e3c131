"""Propagates masks from keyframes over their segments, Eq. (3)."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, cast

import torch
from torch import Tensor

from coprop_plugin.errors import PropagationError
from coprop_plugin.layers import as_rgb, device_of, evaluating, to_device
from coprop_plugin.pipeline.backend_runner import SILENT, Keyframes, SegmentKeyframes
from coprop_plugin.pipeline.mask_logits import MaskLogits
from coprop_plugin.pipeline.windows import ScheduledWindow
from coprop_plugin.types import (
    BatchedPropagator,
    Clip,
    LookaheadPropagator,
    MaskOrigin,
    Propagator,
)


@dataclass(frozen=True, eq=False)
class Segment:
    """Frames of a clip that begin with a keyframe.

    Args:
        clip: The clip.
        frames: Indices in it, half-open, rising or falling; the first is the keyframe.
        sound: The propagator's audio features of the whole clip, one row a frame, or None.
        keyframe: The wrapped model's masks of the keyframe, see `MaskLogits.of_keyframe`.
    """

    clip: Clip
    frames: range
    sound: Tensor | None
    keyframe: MaskLogits


Propagate = Callable[[Sequence[Segment]], list[list[MaskLogits]]]
"""From segments to the masks of their frames: `propagate_batch` of a propagator."""


@dataclass(frozen=True, eq=False)
class FrameMasks:
    """The masks of one frame.

    Args:
        window: Where the frame is.
        index: Of the frame in the video.
        masks: The masks.
        is_keyframe: Whether the wrapped model was run here and trusted, or the masks were given.
        origin: How the masks were made.
    """

    window: ScheduledWindow
    index: int
    masks: MaskLogits
    is_keyframe: bool
    origin: MaskOrigin


class SegmentPropagator:
    """Propagates the masks of one segment, frame by frame.

    Classes become object ids within the segment and are mapped back: object n is the n-th class
    present in the keyframe. Where the keyframe is empty the segment stays empty, and the propagator
    does not run.

    Args:
        propagator: Propagates masks of objects.
        num_classes: C of the wrapped model.
    """

    def __init__(self, propagator: Propagator, num_classes: int) -> None:
        self.propagator, self.num_classes = propagator, num_classes
        # To ask a protocol takes long, so not for every frame.
        self._looks_ahead = isinstance(propagator, LookaheadPropagator)
        self.class_ids: tuple[int, ...] = ()
        self._memory: Any = None
        self._encoded = 0

    def start(self, clip: Clip, t: int, sound: Tensor | None, keyframe: MaskLogits) -> MaskLogits:
        """Start a segment at frame t of `clip` with the wrapped model's masks."""
        self.class_ids, self._memory, self._encoded = keyframe.present, None, 0
        if self.class_ids:
            objects = object_ids_of(keyframe)
            frame, sound = self._inputs(clip, [t], sound)
            self._memory = self.propagator.start(frame, sound, objects[None].to(frame.device))
        return keyframe

    def start_silent(self, clip: Clip) -> MaskLogits:
        """Start a segment in which nothing sounds."""
        self._memory, self.class_ids = None, ()
        return self.nothing(clip)

    @property
    def is_active(self) -> bool:
        """Whether anything sounds in this segment."""
        return self._memory is not None

    def step(
        self, clip: Clip, t: int, sound: Tensor | None, following: Sequence[int] = ()
    ) -> MaskLogits:
        """Propagate the masks of the previous frame to frame t of `clip`.

        Args:
            clip: The clip.
            t: Index in it.
            sound: Audio features of the clip, one row a frame, or None.
            following: Frames after t in this segment, as far as they are known: a
                `LookaheadPropagator` encodes `encode_ahead` of them at once.
        """
        if self._memory is None:
            return self.nothing(clip)
        if not self._encoded:
            self._look_ahead(clip, [t, *following], sound)
        self._encoded -= 1
        frame, sound = self._inputs(clip, [t], sound)
        return self.with_classes(self.propagator.step(self._memory, frame, sound)[0])

    def with_classes(self, logits: Tensor) -> MaskLogits:
        """Map the propagator's logits `[1 + n, H, W]` back to classes."""
        if self.num_classes == 1:
            return MaskLogits((1,), logits[1:2] - logits[:1], 1)
        return MaskLogits((0, *self.class_ids), logits, self.num_classes)

    def nothing(self, clip: Clip) -> MaskLogits:
        """Return the masks of a frame in which nothing sounds."""
        logits = torch.zeros(0, *clip.size, dtype=torch.float32)
        return MaskLogits((), logits, self.num_classes)

    def _look_ahead(self, clip: Clip, frames: Sequence[int], sound: Tensor | None) -> None:
        self._encoded = 1
        if not self._looks_ahead:
            return
        ahead = cast(LookaheadPropagator, self.propagator)
        chosen = list(islice(frames, ahead.encode_ahead))
        self._encoded = len(chosen)
        if len(chosen) > 1:
            pictures, sound = self._inputs(clip, chosen, sound)
            sound = None if sound is None else sound[:, None]
            ahead.look_ahead(self._memory, pictures[:, None], sound)

    def _inputs(
        self, clip: Clip, frames: Sequence[int], sound: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        device = device_of(self.propagator)
        pictures = _pictures(self.propagator, clip, frames, device)
        return pictures, None if sound is None else to_device(sound[list(frames)], device)


class WindowPropagator:
    """Propagates keyframe masks over all frames of windows, in order.

    A segment goes on over the border of a window without a cut, frame by frame. Of the segments
    that end in the window they begin in, several are propagated at once.

    Args:
        propagator: Propagates masks of objects.
        num_classes: C of the wrapped model.
        segment_batch: Most segments to propagate at once. The masks of their frames are held until
            it is their turn.
    """

    def __init__(self, propagator: Propagator, num_classes: int, segment_batch: int) -> None:
        self._segment = SegmentPropagator(propagator, num_classes)
        self._propagator, self._segment_batch = propagator, segment_batch
        self._ready: Iterator[MaskLogits] = iter(())
        self._keyframes: set[int] = set()
        self._origins: Iterator[MaskOrigin] = iter(())
        self._is_silent = False

    def run(
        self,
        windows: Sequence[ScheduledWindow],
        keyframes: Iterator[SegmentKeyframes],
        lookahead: int | None = None,
    ) -> Iterator[FrameMasks]:
        """Yield the masks of every frame of these windows.

        Args:
            windows: One window of a video, or all clips of a call.
            keyframes: The keyframes of each segment that begins in them, in order.
            lookahead: How many segments to get keyframes for at a time; None is `segment_batch`.
        """
        segments = iter([(w, s) for w in windows for s in w.segments if s.start in w.frames])
        lookahead = lookahead or self._segment_batch
        coming: deque[tuple[SegmentKeyframes, Iterable[MaskLogits] | None]] = deque()
        for window in windows:
            for index in window.frames:
                with torch.no_grad(), evaluating(self._propagator):
                    if index in window.schedule:
                        if not coming:
                            batch = list(islice(segments, lookahead))
                            coming.extend(self._propagate(batch, keyframes))
                        masks = self._start(window, index, *coming.popleft())
                    else:
                        masks = next(self._ready, None) or self._step(window, index)
                origin = next(self._origins, None) or self._origin(window, index)
                yield FrameMasks(window, index, masks, index in self._keyframes, origin)

    def _start(
        self,
        window: ScheduledWindow,
        index: int,
        found: SegmentKeyframes,
        masks: Iterable[MaskLogits] | None,
    ) -> MaskLogits:
        t, keyframes = index - window.window.start, found.keyframes
        self._origins, self._is_silent = iter(found.origins), not keyframes
        self._keyframes = {k + window.window.start for k in keyframes or [t]}
        self._ready = iter(masks or ())
        if masks is not None:
            return next(self._ready)
        if not keyframes:
            return self._segment.start_silent(window.clip)
        sound = window.audio(self._propagator) if keyframes[t].present else None
        clip = window.clip_for(self._propagator)
        return self._segment.start(clip, t, sound, keyframes[t])

    def _origin(self, window: ScheduledWindow, index: int) -> MaskOrigin:
        """Tell how the masks of a frame were made: from the nearest keyframe of its segment."""
        if self._is_silent:
            return SILENT
        nearest = min(self._keyframes, key=lambda k: abs(k - index))
        if nearest != index:
            return MaskOrigin("carried", (nearest,), "the nearest keyframe of its segment")
        if index in window.schedule.given:
            return MaskOrigin("given", (index,), "painted by hand")
        is_point = bool(window.schedule.points.flags[index])
        why = "at a control point" if is_point else "run again within a segment"
        return MaskOrigin("predicted", (index,), why)

    def _step(self, window: ScheduledWindow, index: int) -> MaskLogits:
        t, following = index - window.window.start, range(0)
        sound = None
        if self._segment.is_active:
            sound = window.audio(self._propagator)
            following = window.local(window.rest_of_segment(index))
        return self._segment.step(window.clip_for(self._propagator), t, sound, following)

    def _propagate(
        self, batch: Sequence[tuple[ScheduledWindow, range]], keyframes: Iterator[SegmentKeyframes]
    ) -> Iterator[tuple[SegmentKeyframes, Iterable[MaskLogits] | None]]:
        """Yield the keyframes of segments, and their masks where they are known as a whole."""
        known = [next(keyframes) for _ in batch]
        masks = [found.masks for found in known]
        whole: dict[int, Segment] = {}
        for n, ((window, segment), found) in enumerate(zip(batch, known, strict=True)):
            frames, rows = window.local(segment), found.keyframes
            if masks[n] is not None:
                continue
            if [*rows] not in ([], [frames.start]):
                masks[n] = self._both_ways(window, frames, rows)
            elif rows and segment.stop <= window.frames.stop and rows[frames.start].present:
                clip, sound = window.clip_for(self._propagator), window.audio(self._propagator)
                whole[n] = Segment(clip, frames, sound, rows[frames.start])
        if self._segment_batch > 1 and len(whole) > 1:
            for n, row in zip(whole, self._batch([*whole.values()]), strict=True):
                masks[n] = row
        return zip(known, masks, strict=True)

    def _both_ways(
        self, window: ScheduledWindow, frames: range, keyframes: Keyframes
    ) -> list[MaskLogits]:
        """Propagate each of several keyframes to the frames that are nearest to it."""
        clip, sound = window.clip_for(self._propagator), window.audio(self._propagator)
        indices = sorted(keyframes)
        borders = [frames.start, *(sum(pair) // 2 + 1 for pair in pairwise(indices)), frames.stop]
        return [
            masks
            for t, near in zip(indices, pairwise(borders), strict=True)
            for masks in both_ways(self._batch, clip, t, range(*near), sound, keyframes[t])
        ]

    def _batch(self, segments: Sequence[Segment]) -> list[list[MaskLogits]]:
        classes = self._segment.num_classes
        return propagate_batch(self._propagator, classes, segments, self._segment_batch)


def object_ids_of(keyframe: MaskLogits) -> Tensor:
    """Turn the classes of a keyframe into object ids `[H, W]` from 1."""
    ids = torch.zeros(256, dtype=torch.long, device=keyframe.mask.device)
    for object_id, class_id in enumerate(keyframe.present, start=1):
        ids[class_id] = object_id
    return ids[keyframe.mask.int()]


def both_ways(
    propagate: Propagate,
    clip: Clip,
    keyframe: int,
    frames: range,
    sound: Tensor | None,
    masks: MaskLogits,
) -> list[MaskLogits]:
    """Propagate a keyframe to the frames before and after it; returns one mask a frame.

    Args:
        propagate: From segments to the masks of their frames.
        clip: The clip.
        keyframe: One of `frames`.
        frames: Indices in the clip, half-open.
        sound: As in `Segment`.
        masks: Of the keyframe.
    """
    ways = (range(keyframe, frames.start - 1, -1), range(keyframe, frames.stop))
    back, forth = propagate([Segment(clip, way, sound, masks) for way in ways])
    return [*reversed(back), *forth[1:]]


def check_segment_batch(segment_batch: int) -> None:
    """Check that a number of segments is a whole number from 1.

    Raises:
        PropagationError: If it is not.
    """
    if not isinstance(segment_batch, int) or segment_batch < 1:
        raise PropagationError(
            "Expected `segment_batch`, the number of segments to propagate at once, to be a whole "
            f"number from 1 (one after the other); got {segment_batch!r}."
        )


@torch.no_grad()
def propagate_batch(
    propagator: Propagator, num_classes: int, segments: Sequence[Segment], at_once: int
) -> list[list[MaskLogits]]:
    """Propagate segments, of one clip or of several: control points make them independent.

    Segments with frames of one size, equally many objects and the same kind of audio features go
    together, long ones first; where one ends the others go on without it. So nothing is padded,
    and the result differs from one after the other by the rounding of larger products alone. A
    propagator that is not a `BatchedPropagator` gets one segment after the other.

    Args:
        propagator: Propagates masks of objects.
        num_classes: C of the wrapped model.
        segments: The segments.
        at_once: Most segments to propagate at once.

    Returns:
        The masks of each segment's frames.
    """
    at_once = at_once if isinstance(propagator, BatchedPropagator) else 1
    alike: dict[tuple, list[int]] = defaultdict(list)
    for number, segment in enumerate(segments):
        sound = None if segment.sound is None else segment.sound.shape[1:]
        alike[len(segment.keyframe.present), segment.clip.size, sound].append(number)
    masks: dict[int, list[MaskLogits]] = {}
    with evaluating(propagator):
        for numbers in alike.values():
            numbers.sort(key=lambda number: -len(segments[number].frames))
            for start in range(0, len(numbers), at_once):
                chosen = numbers[start : start + at_once]
                rows = _propagate_alike(propagator, num_classes, [segments[n] for n in chosen])
                masks.update(zip(chosen, rows, strict=True))
    return [masks[number] for number in range(len(segments))]


def _propagate_alike(
    propagator: Propagator, num_classes: int, segments: Sequence[Segment]
) -> list[list[MaskLogits]]:
    """Propagate segments that are alike, the longest first."""
    if len(segments) == 1 or not isinstance(propagator, BatchedPropagator):
        return [_propagate_one(propagator, num_classes, segment) for segment in segments]
    states = [SegmentPropagator(propagator, num_classes) for _ in segments]
    masks = [[segment.keyframe] for segment in segments]
    if not segments[0].keyframe.present:
        for segment, state, row in zip(segments, states, masks, strict=True):
            row += [state.nothing(segment.clip) for _ in segment.frames[1:]]
        return masks
    device = device_of(propagator)
    for state, segment in zip(states, segments, strict=True):
        state.class_ids = segment.keyframe.present
    objects = [object_ids_of(segment.keyframe) for segment in segments]
    frames, sound = _batched_inputs(propagator, segments, 0, device)
    memory = propagator.start(frames, sound, torch.stack(objects).to(device))
    active = len(segments)
    for step in range(1, len(segments[0].frames)):
        still = sum(step < len(segment.frames) for segment in segments)
        memory, active = memory if still == active else propagator.first(memory, still), still
        inputs = _batched_inputs(propagator, segments[:active], step, device)
        logits = propagator.step(memory, *inputs)
        for state, row, one in zip(states, masks, logits, strict=False):
            row.append(state.with_classes(one))
    return masks


def _propagate_one(propagator: Propagator, num_classes: int, segment: Segment) -> list[MaskLogits]:
    state, clip, sound = SegmentPropagator(propagator, num_classes), segment.clip, segment.sound
    masks = [state.start(clip, segment.frames[0], sound, segment.keyframe)]
    for n, t in enumerate(segment.frames[1:], start=2):
        masks.append(state.step(clip, t, sound, segment.frames[n:]))
    return masks


def _batched_inputs(
    propagator: Propagator, segments: Sequence[Segment], step: int, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    pictures = [_pictures(propagator, s.clip, [s.frames[step]], device) for s in segments]
    rows = [s.sound[s.frames[step]] for s in segments if s.sound is not None]
    return torch.cat(pictures), to_device(torch.stack(rows), device) if rows else None


def _pictures(
    propagator: Propagator, clip: Clip, frames: Sequence[int], device: torch.device
) -> Tensor:
    """Return frames `[K, 3, H, W]` on a device, moved there as they are: uint8, if they are."""
    first = frames[0]
    chosen = clip.frames[first : first + 1] if len(frames) == 1 else clip.frames[list(frames)]
    moved = to_device(chosen, device)
    # As `UInt8Propagator` says; to ask a protocol takes long, and this is for every frame.
    if getattr(propagator, "takes_uint8", False):
        return moved
    return as_rgb(moved).float()
