"""Several segments at once: control points make them independent of one another."""

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from coprop_plugin.errors import PropagationError
from coprop_plugin.layers.eval_mode import device_of
from coprop_plugin.pipeline.mask_logits import Carrier, MaskLogits, hard_mask
from coprop_plugin.types import Clip, Propagator


@dataclass(frozen=True, eq=False)
class Segment:
    """A stretch of a clip that begins with a keyframe.

    Args:
        clip: The clip.
        frames: Indices in it, half-open; the first is the keyframe.
        sound: What the propagator hears of the whole clip, one row a frame, or None.
        logits: The wrapped model's `[C, H, W]` of the keyframe.
    """

    clip: Clip
    frames: range
    sound: Tensor | None
    logits: Tensor


def check_segment_batch(segment_batch: int) -> None:
    """Refuse what is no number of segments.

    Raises:
        PropagationError: If it is not a whole number of 1 or more.
    """
    if not isinstance(segment_batch, int) or segment_batch < 1:
        raise PropagationError(
            f"Got segment_batch={segment_batch!r}; wanted how many segments to carry at once, a "
            "whole number from 1 (one after the other)."
        )


def carry_together(
    propagator: Propagator, num_classes: int, segments: Sequence[Segment], at_once: int
) -> list[list[MaskLogits]]:
    """Carry segments, of one clip or of several, as a `Carrier` would one after the other.

    Those with frames of one size, equally many objects and the same kind of sound go together,
    long ones first; where one ends the others go on without it. So nothing is padded, and what
    comes out differs from one after the other by the rounding of larger products alone. A
    propagator without `first` is asked about one segment after the other.

    Args:
        propagator: What carries masks of objects.
        num_classes: C of the wrapped model.
        segments: The segments.
        at_once: How many of them to carry at once, at most.

    Returns:
        The masks of each segment's frames.
    """
    at_once = at_once if hasattr(propagator, "first") else 1
    alike: dict[tuple, list[int]] = defaultdict(list)
    for number, segment in enumerate(segments):
        sound = None if segment.sound is None else segment.sound.shape[1:]
        objects = len(hard_mask(segment.logits).unique().nonzero())
        alike[objects, segment.clip.size, sound].append(number)
    masks: dict[int, list[MaskLogits]] = {}
    for numbers in alike.values():
        numbers.sort(key=lambda number: -len(segments[number].frames))
        for start in range(0, len(numbers), at_once):
            chosen = numbers[start : start + at_once]
            carried = _carry(propagator, num_classes, [segments[n] for n in chosen])
            masks.update(zip(chosen, carried, strict=True))
    return [masks[number] for number in range(len(segments))]


def all_logits(
    propagator: Propagator,
    num_classes: int,
    clips: Sequence[Clip],
    indices: Sequence[Sequence[int]],
    keyframes: Sequence[Tensor],
    at_once: int,
) -> list[Tensor]:
    """Return logits `[T, C, H, W]` of each clip from those of its keyframes.

    Args:
        propagator: What carries masks of objects.
        num_classes: C of the wrapped model.
        clips: The clips.
        indices: The keyframes of each, the first one 0.
        keyframes: The wrapped model's logits of them, `[K, C, H, W]` each.
        at_once: How many segments to carry at once, at most.
    """
    segments = []
    for clip, starts, rows in zip(clips, indices, keyframes, strict=True):
        stops = [*starts[1:], clip.num_frames]
        sound = propagator.hear(clip) if any(_any_object(row) for row in rows) else None
        segments += [
            Segment(clip, range(start, stop), sound, row)
            for start, stop, row in zip(starts, stops, rows, strict=True)
        ]
    carried = iter(carry_together(propagator, num_classes, segments, at_once))
    return [
        torch.cat([_dense(next(carried), rows.device) for _ in starts])
        for starts, rows in zip(indices, keyframes, strict=True)
    ]


class SegmentCarrier:
    """Carries the masks of a video that is read in windows, some segments at once.

    A segment that does not end in the window it begins in is carried by itself, frame by frame.

    Args:
        propagator: What carries masks of objects.
        num_classes: C of the wrapped model.
        at_once: How many segments to carry at once, at most. The masks of their frames are held
            until it is their turn.
    """

    def __init__(self, propagator: Propagator, num_classes: int, at_once: int) -> None:
        self._carrier, self._at_once = Carrier(propagator, num_classes), at_once
        self._coming: deque[tuple[Tensor | None, Sequence[MaskLogits]]] = deque()
        self._ready: Iterator[MaskLogits] = iter(())

    def look_at(
        self, clip: Clip, starts: Sequence[int], stop: int, keyframes: Iterator[Tensor | None]
    ) -> None:
        """Take the next window.

        Args:
            clip: The frames that may be looked at.
            starts: Where the segments of the video begin, and last where the video ends, counted
                from the clip's first frame; below 0 before it.
            stop: Where the frames to be carried now end, counted likewise.
            keyframes: Logits `[C, H, W]` of those that begin in this window, in order; None where
                nothing sounds.
        """
        self._clip, self._starts, self._stop, self._keyframes = clip, starts, stop, keyframes
        self._number = {start: number for number, start in enumerate(starts[:-1])}
        self._heard: list[Tensor | None] = []

    def at(self, t: int) -> MaskLogits:
        """Return the masks of frame t of the clip; to be called for one frame after the other."""
        if t not in self._number:
            ready = next(self._ready, None)
            return self._advance(t) if ready is None else ready
        if not self._coming:
            self._coming.extend(self._carry_ahead(self._number[t]))
        logits, carried = self._coming.popleft()
        self._ready = iter(carried)
        if carried:
            return next(self._ready)
        if logits is None:
            return self._carrier.rest(self._clip)
        sound = self._sound() if _any_object(logits) else None
        return self._carrier.begin(self._clip, t, sound, logits)

    def _sound(self) -> Tensor | None:
        """Listen to the window, once, and only if something is to be carried."""
        if not self._heard:
            self._heard.append(self._carrier.hear(self._clip))
        return self._heard[0]

    def _advance(self, t: int) -> MaskLogits:
        stop = min(self._starts[bisect_right(self._starts, t)], self._stop)
        sound = self._sound() if self._carrier.is_carrying else None
        return self._carrier.advance(self._clip, t, sound, range(t + 1, stop))

    def _carry_ahead(self, number: int) -> Iterator[tuple[Tensor | None, Sequence[MaskLogits]]]:
        """Give keyframes that come next, and the masks of whole segments carried at once."""
        ends = self._starts[number : number + self._at_once + 1]
        spans = [range(*span) for span in pairwise(ends) if span[0] < self._stop]
        logits = [next(self._keyframes) for _ in spans]
        whole = [
            (span, row)
            for span, row in zip(spans, logits, strict=True)
            if span.stop <= self._stop and row is not None and _any_object(row)
        ]
        carrier, carried = self._carrier, {}
        if len(whole) > 1:
            whole = [Segment(self._clip, span, self._sound(), row) for span, row in whole]
            rows = carry_together(carrier.propagator, carrier.num_classes, whole, self._at_once)
            carried = {each.frames.start: row for each, row in zip(whole, rows, strict=True)}
        return zip(logits, [carried.get(span.start, ()) for span in spans], strict=True)


def _any_object(logits: Tensor) -> bool:
    return bool(hard_mask(logits).any())


def _dense(masks: Sequence[MaskLogits], device: torch.device) -> Tensor:
    return torch.stack([each.all_classes().to(device) for each in masks])


def _carry(
    propagator: Propagator, num_classes: int, segments: Sequence[Segment]
) -> list[list[MaskLogits]]:
    """Carry segments that are alike, the longest first."""
    if len(segments) == 1:
        return [_carry_alone(propagator, num_classes, segments[0])]
    carriers = [Carrier(propagator, num_classes) for _ in segments]
    masks = [[MaskLogits.of_keyframe(segment.logits)] for segment in segments]
    objects = [c.number_objects(s.logits) for c, s in zip(carriers, segments, strict=True)]
    if not carriers[0].class_ids:
        for segment, carrier, row in zip(segments, carriers, masks, strict=True):
            row += [carrier.rest(segment.clip) for _ in segment.frames[1:]]
        return masks
    device = device_of(propagator)
    frames, sound = _inputs(segments, 0, device)
    memory = propagator.start(frames, sound, torch.stack(objects).to(device))
    going = len(segments)
    for step in range(1, len(segments[0].frames)):
        still = sum(step < len(segment.frames) for segment in segments)
        memory, going = memory if still == going else propagator.first(memory, still), still
        logits = propagator.step(memory, *_inputs(segments[:going], step, device))
        for carrier, row, one in zip(carriers, masks, logits, strict=False):
            row.append(carrier.answer(one))
    return masks


def _carry_alone(propagator: Propagator, num_classes: int, segment: Segment) -> list[MaskLogits]:
    carrier, clip, sound = Carrier(propagator, num_classes), segment.clip, segment.sound
    masks = [carrier.begin(clip, segment.frames[0], sound, segment.logits)]
    for n, t in enumerate(segment.frames[1:], start=2):
        masks.append(carrier.advance(clip, t, sound, segment.frames[n:]))
    return masks


def _inputs(
    segments: Sequence[Segment], step: int, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    frames = torch.cat([segment.clip.rgb([segment.frames[step]]) for segment in segments])
    if segments[0].sound is None:
        return frames.to(device), None
    sound = torch.stack([segment.sound[segment.frames[step]] for segment in segments])
    return frames.to(device), sound.to(device)
