"""Runs the wrapped model on keyframes, Eq. (2): in eval mode, in memory-bounded batches."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from coprop_plugin.errors import AdapterError
from coprop_plugin.layers.eval_mode import evaluating
from coprop_plugin.pipeline.mask_logits import MaskLogits
from coprop_plugin.pipeline.schedule import KeyframeSchedule
from coprop_plugin.pipeline.windows import ScheduledWindow
from coprop_plugin.types import (
    Clip,
    DropInBackend,
    Hook,
    KeyframeBackend,
    MaskOrigin,
    RevisableCall,
    UnpackedCall,
    checked_class_names,
)

KEYFRAME_LOGITS_BYTES = 128 * 2**20
"""Most logits of one batch of keyframes, so that 71 classes of a large picture fit."""

FRAMES_AT_ONCE = 16
"""Most keyframes of one batch, for backends that do not say their own `frames_at_once`."""

BATCH_PIXELS = 2**26
"""Most pixels of segments whose candidates are compared at once."""

Keyframes = Mapping[int, MaskLogits]
"""The keyframes of one segment, by index in the clip; empty where silent."""


SILENT = MaskOrigin("silent", (), "there is no sound")
"""Of the masks of a silent segment."""


@dataclass(frozen=True, eq=False)
class SegmentKeyframes:
    """What is known of a segment before it is propagated.

    Args:
        keyframes: Its keyframes; empty where it is silent.
        masks: The masks of all its frames, if they are known already.
        origins: Then how each was made.
    """

    keyframes: Keyframes
    masks: Iterable[MaskLogits] | None = None
    origins: Sequence[MaskOrigin] = ()


SegmentIn = tuple[ScheduledWindow, range]
"""A segment, in frames of the video, and the window that it begins in."""

Request = tuple[ScheduledWindow, Sequence[int]]
"""Frames of a window's clip to run the model on."""


class Runner(Protocol):
    """Runs a wrapped model on keyframes of windows, or of the clips of a drop-in call."""

    runs_on_silence: bool
    """Whether the model is run at the first frame of silent segments, too."""

    @property
    def backend(self) -> KeyframeBackend:
        """The wrapped model."""
        ...

    def run(self, windows: Sequence[ScheduledWindow]) -> Iterator[SegmentKeyframes]:
        """Yield the keyframe of each segment that begins in these windows, in order."""
        ...

    def batches(self, windows: Sequence[ScheduledWindow]) -> Iterator[list[SegmentIn]]:
        """Yield the segments that begin in these windows, in lists that fit into memory."""
        ...

    def run_on(self, requests: Sequence[Request]) -> list[list[MaskLogits]]:
        """Run the model on chosen frames; returns the masks for each request."""
        ...

    def keep(self, keyframes: Sequence[Sequence[int]], combined: Sequence[Iterable[int]]) -> None:
        """Note the frames of each window that are keyframes in the end.

        Args:
            keyframes: For each window.
            combined: Those of them whose masks are not the model's own alone.
        """
        ...


def given_masks(
    schedule: KeyframeSchedule, index: int, num_classes: int, device: torch.device | None = None
) -> MaskLogits | None:
    """Return the mask that is given for a frame, as certain logits; None where none is."""
    logits = schedule.given_logits(index, num_classes)
    return None if logits is None else MaskLogits.of_keyframe(logits, device)


class BackendRunner:
    """Runs the backend in eval mode, in memory-bounded batches.

    Args:
        backend: The wrapped model.
        hook: See `CoProp.segment`.
        propagate_on: Where the masks are propagated: each keyframe's are moved there once. None
            leaves them where the model computes.
    """

    runs_on_silence = False

    def __init__(
        self,
        backend: KeyframeBackend,
        hook: Hook | None = None,
        propagate_on: torch.device | None = None,
    ) -> None:
        self.backend: KeyframeBackend = backend
        self._hook, self._propagate_on = hook, propagate_on
        self._max_frames: int = getattr(backend, "frames_at_once", FRAMES_AT_ONCE)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the backend's classes, if it has any.

        Raises:
            AdapterError: If there is not one name a class.
        """
        names = getattr(self.backend, "class_names", None)
        return checked_class_names(names, self.backend.num_classes, AdapterError)

    def batch_size(self, clip: Clip) -> int:
        """Return how many frames of a clip's size make a batch."""
        return max(1, min(self._fitting(clip), self._max_frames))

    def _fitting(self, clip: Clip) -> int:
        height, width = clip.size
        return KEYFRAME_LOGITS_BYTES // (4 * self.backend.num_classes * height * width)

    def logits(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Run the backend once; returns logits `[K, C, H, W]`.

        Raises:
            AdapterError: If they have another shape.
        """
        with torch.no_grad(), evaluating(self.backend):
            logits = self.backend.segment_keyframes(clip, indices)
        expected = (len(indices), self.backend.num_classes, *clip.size)
        if tuple(logits.shape) != expected:
            raise AdapterError(
                f"Expected logits of shape {list(expected)} from {type(self.backend).__name__} "
                f"for {len(indices)} keyframes ([K, num_classes, H, W] at the clip's own size), "
                f"got {list(logits.shape)}."
            )
        return logits

    def run(self, windows: Sequence[ScheduledWindow]) -> Iterator[SegmentKeyframes]:
        """Yield the keyframe of each segment that begins in these windows: its first frame."""
        for window in windows:
            yield from self._run_window(window)

    def _run_window(self, window: ScheduledWindow) -> Iterator[SegmentKeyframes]:
        schedule, shift = window.schedule, window.window.start
        size, num_classes = self.batch_size(window.clip), self.backend.num_classes
        starts = [s.start for s in window.segments if s.start < schedule.stop]
        waiting = [i for i in starts if schedule.runs_model(i) and i >= schedule.first_run]
        # A resumed run must batch the same frames as an uninterrupted one: the size of a batch may
        # change a last bit.
        while waiting[:size] and waiting[:size][-1] < schedule.start:
            waiting = waiting[size:]
        aligned = window.window.with_segment_audio(schedule)
        batch: dict[int, MaskLogits] = {}
        for index in (i for i in starts if i >= schedule.start):
            if not batch and schedule.runs_model(index):
                chosen, waiting = waiting[:size], waiting[size:]
                logits = self.logits(aligned, [i - shift for i in chosen])
                batch = {
                    i: MaskLogits.of_keyframe(row, self._propagate_on)
                    for i, row in zip(chosen, logits, strict=True)
                    if i >= schedule.start
                }
                self._report(window, chosen, logits)
                del logits
            row = batch.pop(index, None)
            row = row or given_masks(schedule, index, num_classes, self._propagate_on)
            yield SegmentKeyframes({} if row is None else {index - shift: row})

    def batches(self, windows: Sequence[ScheduledWindow]) -> Iterator[list[SegmentIn]]:
        """Yield segments in lists that fit into memory: the same ones for a resumed run."""
        for window in windows:
            height, width = window.clip.size
            most = min(self._fitting(window.clip), BATCH_PIXELS // (height * width))
            batch: list[SegmentIn] = []
            for segment in window.segments:
                if batch and segment.stop - batch[0][1].start > most:
                    yield batch
                    batch = []
                batch.append((window, segment))
            if batch:
                yield batch

    def run_on(self, requests: Sequence[Request]) -> list[list[MaskLogits]]:
        """Run the model on chosen frames of one window."""
        window, shift = requests[0][0], requests[0][0].window.start
        every = range(shift, shift + window.clip.num_frames)
        # Every frame that may be a keyframe, or context of one, has its own segment's audio.
        aligned = window.window.with_segment_audio(window.schedule, every)
        frames = [t for _, indices in requests for t in indices]
        size = self.batch_size(window.clip)
        rows = deque[MaskLogits]()
        for n in range(0, len(frames), size):
            batch = frames[n : n + size]
            logits = self.logits(aligned, batch)
            self._report(window, [t + shift for t in batch], logits)
            # Only the classes that are there are kept: logits of all take most of the memory.
            rows.extend(MaskLogits.of_keyframe(row, self._propagate_on) for row in logits)
        return [[rows.popleft() for _ in indices] for _, indices in requests]

    def _report(self, window: ScheduledWindow, frames: Sequence[int], logits: Tensor) -> None:
        if self._hook:
            schedule = window.schedule
            done = bisect_right(schedule.indices, max(frames))
            self._hook("keyframes", {"indices": frames, "logits": logits}, done, len(schedule))

    def keep(self, keyframes: Sequence[Sequence[int]], combined: Sequence[Iterable[int]]) -> None:
        """Do nothing: frames that were run and are not keyframes leave no trace."""


class CallRunner:
    """Runs the wrapped model in one call, as its own signature is for whole batches of clips.

    Args:
        backend: The wrapped model.
        call: What it unpacked.
        propagate_on: As for `BackendRunner`.

    Attributes:
        device: Where the model computes, once it was run.
    """

    runs_on_silence = True

    def __init__(
        self, backend: DropInBackend, call: UnpackedCall, propagate_on: torch.device
    ) -> None:
        self.backend: DropInBackend = backend
        self._call, self._propagate_on = call, propagate_on
        self._frames: list[set[int]] = [set() for _ in call]
        self.device = torch.device("cpu")

    def run(self, windows: Sequence[ScheduledWindow]) -> Iterator[SegmentKeyframes]:
        """Yield the keyframe of each segment of the call: its first frame."""
        starts = [window.schedule.indices for window in windows]
        for frames, logits in zip(starts, self._segment(starts), strict=True):
            for t, row in zip(frames, logits, strict=True):
                yield SegmentKeyframes({t: MaskLogits.of_keyframe(row, self._propagate_on)})

    def batches(self, windows: Sequence[ScheduledWindow]) -> Iterator[list[SegmentIn]]:
        """Yield all segments at once."""
        yield [(window, segment) for window in windows for segment in window.segments]

    def run_on(self, requests: Sequence[Request]) -> list[list[MaskLogits]]:
        """Run the model on chosen frames, and again on those that it was run on before."""
        clips = {id(clip): number for number, clip in enumerate(self._call)}
        numbers = [clips[id(window.clip)] for window, _ in requests]
        for number, (_, indices) in zip(numbers, requests, strict=True):
            self._frames[number].update(indices)
        frames = [sorted(indices) for indices in self._frames]
        known = [
            dict(zip(*pair, strict=True))
            for pair in zip(frames, self._segment(frames), strict=True)
        ]
        return [
            [MaskLogits.of_keyframe(known[number][t], self._propagate_on) for t in indices]
            for number, (_, indices) in zip(numbers, requests, strict=True)
        ]

    def _segment(self, frames: Sequence[Sequence[int]]) -> list[Tensor]:
        logits = self.backend.segment_call(self._call, frames)
        self.device = logits[0].device
        return logits

    def keep(self, keyframes: Sequence[Sequence[int]], combined: Sequence[Iterable[int]]) -> None:
        """Leave the call with these keyframes of each clip alone."""
        if isinstance(self._call, RevisableCall):
            self._call.keep(keyframes)
        else:
            self.backend.segment_call(self._call, keyframes)
        self._call.combined = [frozenset(frames) for frames in combined]
