"""Eq. (2) and (3) where the first answer is not taken on trust: see `recovery`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from coprop_plugin.layers.eval_mode import evaluating
from coprop_plugin.pipeline.backend_runner import Asker
from coprop_plugin.pipeline.candidates import STRETCH_PIXELS, Recovery
from coprop_plugin.pipeline.mask_logits import Carrier, MaskLogits
from coprop_plugin.pipeline.schedule import Asked
from coprop_plugin.pipeline.segments import Segment, carry_together
from coprop_plugin.pipeline.stretches_tmp import Stretch, settle
from coprop_plugin.pipeline.windows import Window
from coprop_plugin.types import Clip, Hook, Propagator


class Recovered(NamedTuple):
    """The masks of one frame.

    Attributes:
        index: Of the frame in the video.
        time_s: Of the frame.
        masks: What sounds in it.
        is_keyframe: Whether the model itself said so, and was trusted.
    """

    index: int
    time_s: float
    masks: MaskLogits
    is_keyframe: bool


class Recovering:
    """Asks a wrapped model about several frames a stretch, and carries what can be trusted.

    Args:
        asker: Puts frames to the model.
        propagator: What carries masks of objects.
        recovery: What to ask.
        segment_batch: How many answers to carry at once, at most.
    """

    def __init__(
        self, asker: Asker, propagator: Propagator, recovery: Recovery, segment_batch: int
    ) -> None:
        self.asker, self.propagator = asker, propagator
        self.recovery, self.segment_batch = recovery, segment_batch
        self.num_classes = asker.backend.num_classes

    def frames(
        self, windows: Iterable[Window], asked: Asked, hook: Hook | None
    ) -> Iterator[Recovered]:
        """Yield the masks of a video that is read in windows, frame by frame.

        Args:
            windows: Of the video; what lies `recovery.STRETCH_S` behind one must be in it.
            asked: Of `Recovery.asked`.
            hook: See `CoProp.segment`.
        """
        for window in windows:
            if window.frames.start >= asked.stop:
                return
            inside = [f for f in asked.stretches if f.start in window.frames]
            sound = None
            if any(f.start in asked.given or not asked.is_silent(f.start) for f in inside):
                sound = self._sound(window.clip)
            for some in self._portions(inside, window.clip):
                if asked.start <= some[-1].start and some[0].start < asked.stop:
                    settled = self._settled(some, window, sound, asked, hook)
                    yield from (f for f in settled if asked.start <= f.index < asked.stop)

    def _portions(self, stretches: Sequence[range], clip: Clip) -> Iterator[list[range]]:
        """Put stretches together that are asked about at once: the same, whoever goes on."""
        height, width = clip.size
        most = min(self.asker.frames_at_once(clip), STRETCH_PIXELS // (height * width))
        portion: list[range] = []
        for frames in stretches:
            if portion and frames.stop - portion[0].start > most:
                yield portion
                portion = []
            portion.append(frames)
        if portion:
            yield portion

    def _settled(
        self,
        some: Sequence[range],
        window: Window,
        sound: Tensor | None,
        asked: Asked,
        hook: Hook | None,
    ) -> Iterator[Recovered]:
        clip, shift = window.clip, window.start
        # Whoever is asked about, and beside whom, hears its own segment.
        heard = window.hearing_segments(asked, range(shift, shift + clip.num_frames))

        def ask(wanted: Sequence[Sequence[int]]) -> list[list[Tensor]]:
            chosen = [t for row in wanted for t in row]
            logits = self._ask(heard, chosen)
            if hook:
                artifact = {"indices": [t + shift for t in chosen], "logits": logits}
                hook("keyframes", artifact, asked.indices.index(some[-1].start) + 1, len(asked))
            rows = iter(logits)
            return [[next(rows) for _ in row] for row in wanted]

        stretches = [self._of_window(frames, window, sound, asked) for frames in some]
        settle([stretch for stretch in stretches if stretch], ask)
        nothing = Carrier(self.propagator, self.num_classes).rest(clip)
        for frames, stretch in zip(some, stretches, strict=True):
            keyframes = stretch.keyframes if stretch else [frames.start - shift]
            masks = stretch.masks() if stretch else [nothing] * len(frames)
            for index, mask in zip(frames, masks, strict=True):
                t = index - shift
                yield Recovered(index, float(clip.times[t]), mask, t in keyframes)

    def _of_window(
        self, frames: range, window: Window, sound: Tensor | None, asked: Asked
    ) -> Stretch | None:
        """Return some frames of a video as a stretch of its window; None where nothing sounds."""
        start, stop = frames.start - window.start, frames.stop - window.start
        given = asked.given_logits(frames.start, self.num_classes)
        if given is not None:
            recovery = replace(self.recovery, extra=0)
            stretch = Stretch(window.clip, range(start, stop), sound, [], recovery, self._carry)
            stretch.take({start: given})
            return stretch
        if asked.is_silent(frames.start):
            return None
        first = self.recovery.first_frames(frames, asked.times)
        first = [t - window.start for t in first]
        return Stretch(window.clip, range(start, stop), sound, first, self.recovery, self._carry)

    def _ask(self, clip: Clip, indices: Sequence[int]) -> list[Tensor]:
        at_once = self.asker.frames_at_once(clip)
        portions = [indices[n : n + at_once] for n in range(0, len(indices), at_once)]
        return [row for portion in portions for row in self.asker.ask(clip, portion)]

    def call(self, call: Any, asked: Sequence[Asked]) -> list[Tensor]:
        """Answer a call of the wrapped model's own: logits `[T, C, H, W]` of each clip.

        Where more is asked, the model is called again for all frames that were asked about, as
        its call is for whole batches.

        Args:
            call: What the backend unpacked. Afterwards it holds the trusted keyframes alone.
            asked: Of `Recovery.asked`, for each clip.
        """
        backend, clips = self.asker.backend, []
        for clip, each in zip(call, asked, strict=True):
            sound = self._sound(clip)
            first = [self.recovery.first_frames(frames, each.times) for frames in each.stretches]
            clips.append(
                [
                    Stretch(clip, frames, sound, chosen, self.recovery, self._carry)
                    for frames, chosen in zip(each.stretches, first, strict=True)
                ]
            )
        said: list[list[int]] = [[] for _ in clips]

        def ask(wanted: Sequence[Sequence[int]]) -> list[list[Tensor]]:
            rows = iter(wanted)
            more = [[next(rows) for _ in stretches] for stretches in clips]
            for n, frames in enumerate(more):
                said[n] = sorted({*said[n], *(t for row in frames for t in row)})
            answers = backend.segment_call(call, said)
            known = [dict(zip(*pair, strict=True)) for pair in zip(said, answers, strict=True)]
            return [[known[n][t] for t in row] for n, frames in enumerate(more) for row in frames]

        settle([stretch for stretches in clips for stretch in stretches], ask)
        keep = getattr(call, "keep", partial(backend.segment_call, call))
        keep([[t for stretch in stretches for t in stretch.keyframes] for stretches in clips])
        return [
            torch.stack([each.all_classes() for stretch in stretches for each in stretch.masks()])
            for stretches in clips
        ]

    def _sound(self, clip: Clip) -> Tensor | None:
        with torch.no_grad(), evaluating(self.propagator):
            return self.propagator.hear(clip)

    def _carry(self, segments: Sequence[Segment]) -> list[list[MaskLogits]]:
        with torch.no_grad(), evaluating(self.propagator):
            return carry_together(self.propagator, self.num_classes, segments, self.segment_batch)
