"""Co-Prop around any model: find the control points, segment the keyframes, carry the masks."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coprop_plugin.control_points.resolve import as_provider
from coprop_plugin.errors import AdapterError
from coprop_plugin.layers.eval_mode import device_of, evaluating
from coprop_plugin.pipeline.backend_runner import Asker
from coprop_plugin.pipeline.candidates import STRETCH_S, Recovery
from coprop_plugin.pipeline.mask_logits import MaskLogits
from coprop_plugin.pipeline.prefetch import AskedAhead, PointsAhead
from coprop_plugin.pipeline.progress import watched
from coprop_plugin.pipeline.recovering_tmp import Recovering
from coprop_plugin.pipeline.schedule import Asked, checked
from coprop_plugin.pipeline.segments import SegmentCarrier, all_logits, check_segment_batch
from coprop_plugin.pipeline.windows import Window, stream_windows
from coprop_plugin.propagation.resolve import as_propagator
from coprop_plugin.registry import MODELS, build
from coprop_plugin.types import (
    Clip,
    ControlPoints,
    FrameResult,
    Hook,
    KeyframeBackend,
    Sampling,
    SegmentationResult,
    Source,
)


@MODELS.register_module(name=["CoProp", "coprop"])
class CoProp(nn.Module):
    """A model wrapped in the three steps of Co-Prop.

    Args:
        backend: Eq. (2): a `KeyframeBackend`, or an mmengine config of one, in which `model` may
            be a config too.
        control_points: Eq. (1): a registered name, a config, a `ControlPointProvider`, or flags
            (one 0 or 1 per frame).
        propagator: Eq. (3): None for the default, a path to safetensors of ours or to a released
            AOT checkpoint, a registered name, a config, or a `Propagator`.
        device: Where the propagator runs; None is where the wrapped model lives.
        reanchor: Seconds after which the wrapped model is asked again within a segment, so that
            masks are not carried further; None is the paper's way, at control points alone.
            `"uncertain"`, or `dict(type="uncertain", threshold=0.5, extra=2, seconds=None)`: where
            masks are in doubt, see `Recovery`.
        segment_batch: How many segments to carry at once, at most; more take more memory.
        keyframe: `"first"`, the paper's way; or `"confident"`, or `dict(type="confident",
            candidates=3)`: of several frames in a segment those whose masks bear one another out,
            carried both ways; see `Recovery`.

    Raises:
        UnknownNameError: If a name is not registered.
        CheckpointError: If `propagator` is a file that holds no propagator.
        ControlPointError: If `reanchor` or `keyframe` is none of the above.
        PropagationError: If `segment_batch` is not 1 or more.

    Example:
        >>> import torch
        >>> from coprop_plugin import CoProp
        >>> loud = lambda frames, audio: frames.mean(1, keepdim=True) - 0.5
        >>> backend = dict(type="CallableBackend", function=loud)
        >>> model = CoProp(backend, control_points="every_n", propagator="hold")
        >>> model.segment((torch.rand(5, 3, 32, 32), torch.zeros(80_000), 16_000)).masks.shape
        torch.Size([5, 32, 32])
    """

    def __init__(
        self,
        backend: KeyframeBackend | Mapping[str, Any],
        control_points: Any = "novelty",
        propagator: Any = None,
        device: torch.device | str | None = None,
        reanchor: float | str | Mapping[str, Any] | None = None,
        segment_batch: int = 1,
        keyframe: str | Mapping[str, Any] = "first",
    ) -> None:
        super().__init__()
        self.recovery = Recovery.of(keyframe, reanchor)
        check_segment_batch(segment_batch)
        self.segment_batch = segment_batch
        if isinstance(backend, Mapping):
            backend = dict(backend)
            if isinstance(backend.get("model"), Mapping):
                backend["model"] = MODELS.build(backend["model"])
            backend = build(MODELS, backend, verb="segment_keyframes")
        self.backend, self.reanchor, self.keyframe = backend, reanchor, keyframe
        self.provider = as_provider(control_points)
        self.propagator = as_propagator(propagator)
        if isinstance(self.propagator, nn.Module):
            self.propagator.to(device or device_of(backend))
        # In a tuple, so that it is not registered a second time beside the backend's.
        self._wrapped = (getattr(backend, "model", backend),)

    def segment(
        self,
        source: Source,
        *,
        fps: float | None = 1.0,
        sampling: Sampling = "pts",
        hook: Hook | None = None,
        progress: bool = False,
    ) -> SegmentationResult:
        """Segment what sounds in every frame.

        Args:
            source: A file, a `Clip`, or (frames `[T, 3, H, W]`, waveform `[samples]`, Hz).
            fps: Frames a second to segment, if `source` is a file; None takes all.
            sampling: `"pts"` or `"avsbench"`, if `source` is a file; see `Clip.from_file`.
            hook: Called as `hook(step, artifact, done, total)` after each step.
            progress: Whether to show a progress bar on stderr.

        Returns:
            Masks, probabilities, control points and times; all frames of the clip in memory. For
            long videos see `stream`.

        Raises:
            MediaError: If the file cannot be read.
            ClipError: If frames and sound make no clip.
            ControlPointError: If control points do not fit the clip.
        """
        clip = Clip.of(source, fps, sampling)
        with watched(hook, progress) as hook:
            points = self.anchor(clip, hook)
            asked = self.asking(points, clip)
            frames = list(self._frames([Window.whole(clip)], asked, hook))
        return SegmentationResult(clip, points, frames)

    def segment_bare(
        self, source: Source, *, fps: float | None = 1.0, sampling: Sampling = "pts"
    ) -> SegmentationResult:
        """Ask the wrapped model about every frame, as if Co-Prop were not there; to compare with.

        Each frame hears what the model would hear without us: the 0.975 s that end about 0.04 s
        after it, or AVSBench's second.

        Args:
            source: As for `segment`.
            fps: As for `segment`.
            sampling: As for `segment`.

        Returns:
            The result, in which every frame is a control point.
        """
        clip = Clip.of(source, fps, sampling)
        points = ControlPoints(torch.ones(clip.num_frames), source="bare")
        asker, frames = Asker(self.backend), []
        at_once = asker.frames_at_once(clip)
        for first in range(0, clip.num_frames, at_once):
            indices = list(range(first, min(first + at_once, clip.num_frames)))
            for index, logits in zip(indices, asker.ask(clip, indices), strict=True):
                masks = MaskLogits.of_keyframe(logits)
                time_s = float(clip.times[index])
                frames.append(masks.result(index, time_s, True, asker.class_names))
        return SegmentationResult(clip, points, frames)

    def stream(
        self,
        path: str | Path,
        *,
        fps: float | None = 1.0,
        sampling: Sampling = "pts",
        hook: Hook | None = None,
        progress: bool = False,
        points: ControlPoints | None = None,
        start: int = 0,
        stop: int | None = None,
        given: Mapping[int, Tensor] | None = None,
    ) -> Iterator[FrameResult]:
        """Segment a video of any length, frame by frame, in bounded memory.

        The sound is read first, to find the control points; the pictures are then read, segmented
        and forgotten stretch by stretch. Results equal those of `segment`. A language model is
        asked about a stretch of sound while the pictures before it are segmented.

        Args:
            path: A video file.
            fps: Frames a second to segment; None takes all.
            sampling: `"pts"` or `"avsbench"`; see `Clip.from_file`.
            hook: Called as `hook(step, artifact, done, total)` after each step.
            progress: Whether to show a progress bar on stderr.
            points: The control points, where they were found before.
            start: The frame to go on with after an interruption, one that the model is asked
                about; from there on, results are what they would have been.
            stop: The frame to end before, likewise. If it is given, nothing before `start` is
                asked about; otherwise frames that would have been asked about at once are.
            given: Masks `[H, W]` of class ids by frame, to carry on from instead of asking.

        Yields:
            One result a frame, in order.

        Raises:
            MediaError: If the file cannot be read.
            ControlPointError: If `points` do not fit the video, or the model is not asked about
                frame `start` or `stop`.
        """
        with watched(hook, progress) as hook:
            ahead_s = STRETCH_S if self.recovery else 0.0
            sound, windows = stream_windows(path, fps, sampling, ahead_s)
            ahead = hasattr(self.provider, "propose_ahead") and not (self.recovery or given)
            if ahead and points is None and stop is None:
                with closing(PointsAhead(self.provider, sound)) as coming:
                    asked = AskedAhead(coming, sound, self.reanchor, start)
                    frames = self._frames(asked.in_time(windows, hook), asked, hook)
                    yield from (frame for frame in frames if frame.index >= start)
                return
            points = self.anchor(sound, hook) if points is None else checked(points, sound)
            asked = self.asking(points, sound, start, stop, given)
            stop = points.num_frames if stop is None else stop
            frames = self._frames(windows, asked, hook)
            yield from (frame for frame in frames if start <= frame.index < stop)

    def anchor(self, clip: Clip, hook: Hook | None = None) -> ControlPoints:
        """Find the control points of a clip, Eq. (1).

        Raises:
            ControlPointError: If the provider's flags are not one a frame.
        """
        points = checked(self.provider.propose(clip), clip)
        if hook:
            hook("control_points", points, 1, 1)
        return points

    def asking(self, points: ControlPoints, clip: Clip, *options: Any) -> Asked:
        """Return which frames the model is asked about; `options` are those of `stream`."""
        if self.recovery:
            return self.recovery.asked(points, clip.times, clip.size, *options)
        return Asked(points, clip.times, self.reanchor, *options)

    @property
    def _recovering(self) -> Recovering:
        return Recovering(Asker(self.backend), self.propagator, self.recovery, self.segment_batch)

    def _frames(
        self, windows: Iterable[Window], asked: Asked, hook: Hook | None
    ) -> Iterator[FrameResult]:
        """Eq. (2) and (3) over windows: one result a frame, in order."""
        names = Asker(self.backend).class_names
        if self.recovery:
            for index, time_s, masks, is_keyframe in self._recovering.frames(windows, asked, hook):
                result = masks.result(index, time_s, is_keyframe, names)
                if hook:
                    hook("propagation", result, index + 1, asked.points.num_frames)
                yield result
            return
        num_classes = self.backend.num_classes
        carrier = SegmentCarrier(self.propagator, num_classes, self.segment_batch)
        for window in windows:
            clip, keyframes = window.clip, Asker(self.backend).keyframes(window, asked, hook)
            wanted = range(
                max(window.frames.start, asked.start), min(window.frames.stop, asked.stop)
            )
            if wanted.start >= asked.stop:
                return
            if not wanted:
                continue
            starts = [i - window.start for i in asked.bounds]
            with torch.no_grad(), evaluating(self.propagator):
                carrier.look_at(clip, starts, wanted.stop - window.start, keyframes)
            for index in wanted:
                t, is_keyframe = index - window.start, index in asked
                with torch.no_grad(), evaluating(self.propagator):
                    masks = carrier.at(t)
                    result = masks.result(index, float(clip.times[t]), is_keyframe, names)
                if hook:
                    hook("propagation", result, index + 1, asked.points.num_frames)
                yield result

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the wrapped model's own way: its arguments, its return value, aligned masks.

        At control points the numbers are the wrapped model's own; between them the masks are
        carried. Side outputs of a carried frame are those of its segment's keyframe.

        Raises:
            AdapterError: If this backend has no call of its own; use `segment`.
        """
        if not hasattr(self.backend, "unpack"):
            raise AdapterError(
                f"{type(self.backend).__name__} has no call of its own to stand in for. Use "
                "`model.segment(clip)`, or give the backend `unpack`, `segment_call` and `repack`."
            )
        with evaluating(self):
            call = self.backend.unpack(*args, **kwargs)
            asked = [self.asking(self.anchor(clip), clip) for clip in call]
            if self.recovery:
                return self.backend.repack(call, self._recovering.call(call, asked))
            indices, classes = [a.indices for a in asked], self.backend.num_classes
            keyframes = self.backend.segment_call(call, indices)
            logits = all_logits(
                self.propagator, classes, call, indices, keyframes, self.segment_batch
            )
            return self.backend.repack(call, logits)
