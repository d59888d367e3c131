"""Co-Prop around any model: find control points, segment keyframes, propagate masks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coprop_plugin.choices import DEFAULT_POINTS
from coprop_plugin.control_points.resolve import as_provider
from coprop_plugin.control_points.silent_segments import SilentSegments
from coprop_plugin.errors import AdapterError, TrainingError
from coprop_plugin.layers import check_parts, device_of, evaluating, to_device
from coprop_plugin.pipeline.backend_runner import BackendRunner, CallRunner, Runner
from coprop_plugin.pipeline.bare_frames import bare_frames
from coprop_plugin.pipeline.candidates import CandidateRunner, keyframe_options
from coprop_plugin.pipeline.on_cpu import on_cpu
from coprop_plugin.pipeline.prefetch import PrefetchedControlPoints, StreamingSchedule
from coprop_plugin.pipeline.preset_options import (
    BY_PRESET,
    Keyframe,
    Preset,
    Reanchor,
    Silence,
    preset_options,
)
from coprop_plugin.pipeline.progress import progress_hook
from coprop_plugin.pipeline.propagator_device import propagator_device
from coprop_plugin.pipeline.schedule import KeyframeSchedule, check_points, cut_schedule
from coprop_plugin.pipeline.segments import FrameMasks, WindowPropagator, check_segment_batch
from coprop_plugin.pipeline.windows import (
    ScheduledWindow,
    StreamedVideo,
    Window,
    WindowedVideo,
    WindowLimits,
    frames_within,
)
from coprop_plugin.propagation.resolve import as_propagator
from coprop_plugin.registry import MODELS, build
from coprop_plugin.types import (
    Clip,
    ControlPointProvider,
    ControlPoints,
    DropInBackend,
    FrameResult,
    Hook,
    KeyframeBackend,
    NamingBackend,
    Propagator,
    Sampling,
    SegmentationResult,
    SharingBackend,
    Source,
    StreamingProvider,
)

ControlPointsOption = str | Mapping[str, Any] | Sequence[int] | Tensor | ControlPointProvider | None
"""How control points are found: a registered name, a config, flags, or a provider."""

PropagatorOption = str | Path | Mapping[str, Any] | Propagator | None
"""What propagates masks: None is the preset's; see `CoProp`."""


@MODELS.register_module(name=["CoProp", "coprop"])
class CoProp(nn.Module):
    """A model wrapped in the three steps of Co-Prop.

    Args:
        backend: Eq. (2): a `KeyframeBackend`, or an mmengine config of one, in which `model` may
            be a config of a registered model.
        control_points: Eq. (1): a registered name, a config, a `ControlPointProvider`, or flags
            (one 0 or 1 per frame). None: the preset's, else those that come with the backend
            (`open_vocabulary` has its listener's), else `"change_detector"`.
        propagator: Eq. (3): `"appearance"`, `"learned"` for the Audio-Insert Propagator with the
            shipped weights, a path to safetensors of ours or to a released AOT checkpoint, a
            registered name, a config, or a `Propagator`; None is the preset's.
        device: Where the propagator runs; by default where the wrapped model is, and for a model
            without parameters the default accelerator.
        reanchor: `"auto"`, or `dict(type="auto", seconds=1.0, ...)`: the model is run every second
            and where predictions disagree, and masks are combined; see `AutoOptions`. A number:
            seconds after which it is run again within a segment. None: at control points alone, the
            paper's way. `"uncertain"`, or `dict(type="uncertain", threshold=0.5, extra=2)`: where
            masks are uncertain; see `CandidateOptions`. "preset": the preset's, `"auto"`.
        segment_batch: Most segments to propagate at once; more take more memory.
        keyframe: `"first"`, the paper's way: the first frame of each segment. `"confident"`, or
            `dict(type="confident", candidates=3)`: run several candidates a segment, keep those
            that agree, propagate both ways; see `CandidateOptions`. None is the preset's.
        silence: `"empty"`: segments without sound stay empty, and the model is not run there,
            whichever provider found the control points. `"keep"`: they are segments as others are,
            and the model decides. None is the preset's.
        preset: What options are where they are not given: `"default"`; or `"paper"`, the method as
            published: keyframes at control points alone, propagated by the Audio-Insert
            Propagator, and silence is left to the model. `"fast"`, `"balanced"` and `"best"`
            select control points and propagator, and in `wrap` the model, too.

    Attributes:
        window_limits: How much of a streamed video is held in memory.

    Raises:
        UnknownNameError: If a name is not registered.
        CheckpointError: If `propagator` is a file that holds no propagator.
        DeviceError: If this machine has no such device, or a part has weights without numbers.
        ControlPointError: If `reanchor`, `keyframe`, `silence` or `preset` is none of the above.
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
        control_points: ControlPointsOption = None,
        propagator: PropagatorOption = None,
        device: torch.device | str | None = None,
        reanchor: Reanchor = BY_PRESET,
        segment_batch: int = 1,
        keyframe: Keyframe | None = None,
        silence: Silence | None = None,
        preset: Preset = "default",
    ) -> None:
        super().__init__()
        options = preset_options(preset, keyframe, reanchor, silence)
        self.reanchor, self.keyframe = options.reanchor, options.keyframe
        self.silence = options.silence
        self.candidates = keyframe_options(self.keyframe, self.reanchor)
        check_segment_batch(segment_batch)
        self.segment_batch = segment_batch
        self.window_limits = WindowLimits()
        self.backend = _build_backend(backend) if isinstance(backend, Mapping) else backend
        naming = self.backend if isinstance(self.backend, NamingBackend) else None
        own = options.control_points or (naming.control_points if naming else DEFAULT_POINTS)
        self.provider = as_provider(own if control_points is None else control_points)
        self.propagator = as_propagator(options.propagator if propagator is None else propagator)
        if isinstance(self.backend, SharingBackend):
            self.backend.share_model(self.propagator)
        check_parts(self.backend, getattr(self.backend, "model", None), self.propagator)
        place = propagator_device(self.backend, device)
        if isinstance(self.propagator, nn.Module):
            self.propagator.to(place)
        # It predicts until a caller asks for `train()`; its parts keep the mode that they have.
        self.training = False
        # In a tuple, so that it is not registered a second time beside the backend's.
        self._wrapped = (getattr(self.backend, "model", self.backend),)

    def segment(
        self,
        source: Source,
        *,
        fps: float | None = 1.0,
        sampling: Sampling = "pts",
        hook: Hook | None = None,
        progress: bool = False,
    ) -> SegmentationResult:
        """Segment the sounding objects in every frame.

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
            ClipError: If frames and audio do not make a clip.
            ControlPointError: If control points do not fit the clip.
        """
        clip = Clip.of(source, fps, sampling)
        with progress_hook(hook, progress) as hook:
            points = self.anchor(clip, hook)
            frames = self._results([Window.whole(clip)], self.schedule(points, clip), hook)
            return SegmentationResult(clip, points, list(frames))

    def stream(
        self,
        path: str | Path,
        *,
        fps: float | None = 1.0,
        sampling: Sampling = "pts",
        hook: Hook | None = None,
        progress: bool = False,
    ) -> Iterator[FrameResult]:
        """Segment a video of any length, frame by frame, in bounded memory.

        The audio is read first, to find the control points; then frames are read, segmented and
        forgotten window by window. Results equal those of `segment`. A `StreamingProvider`, e.g. a
        language model, finds the control points of what comes next meanwhile.

        Args:
            path: A video file.
            fps: Frames a second to segment; None takes all.
            sampling: `"pts"` or `"avsbench"`; see `Clip.from_file`.
            hook: Called as `hook(step, artifact, done, total)` after each step.
            progress: Whether to show a progress bar on stderr.

        Yields:
            One result a frame, in order.

        Raises:
            MediaError: If the file cannot be read.
            ControlPointError: If the control points do not fit the video.
        """
        with progress_hook(hook, progress) as hook:
            video = StreamedVideo(path, fps, sampling, self.window_limits)
            yield from self.stream_part(video, hook=hook)

    def stream_part(
        self,
        video: WindowedVideo,
        points: ControlPoints | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        given: Mapping[int, Tensor] | None = None,
        hook: Hook | None = None,
    ) -> Iterator[FrameResult]:
        """Segment a part of an open video: `stream` for runs that resume or redo.

        Args:
            video: A video, read as `window_limits` say; or a `ClipInHand`.
            points: Its control points, if they are known; else they are found.
            start: The frame to resume at, a keyframe. Results are those of an uninterrupted run.
            stop: The frame before which to stop, a keyframe. With it, the model is not run before
                `start`; otherwise it is, where batches of keyframes need it.
            given: Masks `[H, W]` of class ids by frame, to propagate instead of the model's own.
            hook: As for `stream`.

        Yields:
            One result a frame, in order.

        Raises:
            MediaError: If the file cannot be read.
            ControlPointError: If `points` do not fit the video, or no segment begins at `start` or
                `stop`.
        """
        audio, cut = video.audio, self.candidates
        ahead = frames_within(audio.times, cut.segment_s, cut.most_frames(audio)) - 1 if cut else 0
        # Names of the whole clip are the classes of its first frame already.
        whole = isinstance(self.backend, NamingBackend) or points is not None
        partial = whole or stop is not None or given
        if isinstance(self.provider, StreamingProvider) and not partial:
            with closing(PrefetchedControlPoints(self.provider, audio)) as prefetched:
                growing = StreamingSchedule(
                    prefetched,
                    audio,
                    cut.segment_s if cut else self.reanchor_s,
                    start,
                    SilentSegments(audio) if self.silence == "empty" else None,
                    cut.most_frames(audio) if cut else None,
                )
                parts = video.windows(growing.start, None, ahead, self._needs_context)
                windows = growing.follow(parts, hook)
                results = self._results(windows, growing, hook)
                yield from (result for result in results if result.index >= start)
            return
        points = self.anchor(audio, hook) if points is None else self.named(points, audio)
        schedule = self.schedule(points, audio, start=start, stop=stop, given=given)
        end = None if stop is None else schedule.stop
        windows = video.windows(schedule.start, end, ahead, self._needs_context)
        for result in self._results(windows, schedule, hook):
            # With candidates the first segment may begin before `start`.
            if result.index >= start and (stop is None or result.index < stop):
                yield result

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the wrapped model's own way: its arguments, its return value, aligned masks.

        At keyframes the numbers are the wrapped model's own; between them masks are propagated.
        Side outputs of a propagated frame are those of its segment's keyframe. No gradients are
        recorded.

        Raises:
            AdapterError: If the backend is not a `DropInBackend`; use `segment`.
            TrainingError: In train mode, unless gradients are off.
        """
        if self.training and torch.is_grad_enabled():
            raise TrainingError(
                "Expected eval mode, got a call in train mode: Co-Prop records no gradients, so a "
                "loss behind this call would train nothing. To predict, use `model.eval()` or "
                "`torch.no_grad()`. Train the wrapped model by itself, `unwrap(model)`; the "
                "keyframe processor and the propagator with `coprop train`."
            )
        if not isinstance(self.backend, DropInBackend):
            raise AdapterError(
                f"{type(self.backend).__name__} has no call of its own to stand in for. Use "
                "`model.segment(clip)`, or give the backend `unpack`, `segment_call` and `repack`."
            )
        with torch.no_grad(), evaluating(self):
            call = self.backend.unpack(*args, **kwargs)
            schedules = [self.schedule(self.anchor(clip), clip) for clip in call]
            windows = [
                ScheduledWindow(Window.whole(clip), schedule)
                for clip, schedule in zip(call, schedules, strict=True)
            ]
            runner = CallRunner(self.backend, call, device_of(self.propagator))
            logits: dict[int, list[Tensor]] = {id(window): [] for window in windows}
            for frame in self._masks([windows], runner, lookahead=sum(map(len, schedules))):
                logits[id(frame.window)].append(to_device(frame.masks.all_classes(), runner.device))
            return self.backend.repack(call, [torch.stack(rows) for rows in logits.values()])

    def __getattr__(self, name: str) -> Any:
        """Return what the wrapped model calls its call, or an attribute that its adapter passes."""
        backend = self.__dict__.get("_modules", {}).get("backend")
        if name == getattr(backend, "call_name", None):
            return self.__call__
        if name in getattr(backend, "passed_names", ()):
            return getattr(backend.network, name)
        return super().__getattr__(name)

    def segment_bare(
        self, source: Source, *, fps: float | None = 1.0, sampling: Sampling = "pts"
    ) -> SegmentationResult:
        """Run the wrapped model on every frame, without Co-Prop; to compare with.

        The audio window of a frame is the model's own: the 0.975 s that end about 0.04 s after it,
        or AVSBench's second.

        Args:
            source: As for `segment`.
            fps: As for `segment`.
            sampling: As for `segment`.

        Returns:
            The result, in which every frame is a control point.
        """
        clip = Clip.of(source, fps, sampling)
        points = self.named(ControlPoints(torch.ones(clip.num_frames), source="bare"), clip)
        frames = bare_frames(self.backend_of(points, clip.times), clip)
        return SegmentationResult(clip, points, list(frames))

    def anchor(self, clip: Clip, hook: Hook | None = None) -> ControlPoints:
        """Find the control points of a clip, Eq. (1).

        Raises:
            ControlPointError: If the provider's flags are not one a frame.
        """
        points = self.named(self.provider.propose(clip), clip)
        if hook:
            hook("control_points", points, 1, 1)
        return points

    def named(self, points: ControlPoints, clip: Clip) -> ControlPoints:
        """Return checked control points of a clip, named if the backend's classes are names."""
        points = check_points(points, clip)
        if isinstance(self.backend, NamingBackend):
            return self.backend.name_sounds(clip, points)
        return points

    def backend_of(self, points: ControlPoints, times: Tensor) -> KeyframeBackend:
        """Return the backend of one clip: one with the clip's classes, if they are names."""
        if isinstance(self.backend, NamingBackend):
            return self.backend.for_clip(points, times)
        return self.backend

    def schedule(
        self,
        points: ControlPoints,
        clip: Clip,
        *,
        start: int = 0,
        stop: int | None = None,
        given: Mapping[int, Tensor] | None = None,
    ) -> KeyframeSchedule:
        """Return the frames at which the model is run; the options are those of `stream_part`."""
        points = self._with_silence(points, clip)
        if self.candidates:
            longest = self.candidates.segment_s, self.candidates.most_frames(clip)
            return cut_schedule(points, clip, *longest, start, stop, given)
        return KeyframeSchedule(points, clip.times, self.reanchor_s, start, stop, given)

    def _with_silence(self, points: ControlPoints, clip: Clip) -> ControlPoints:
        """Judge which segments are silent, as `silence` says."""
        if self.silence == "keep":
            return replace(points, silent=None)
        return SilentSegments(clip).mark(points)

    @property
    def _needs_context(self) -> bool:
        """Whether the model looks at frames around the one that it segments."""
        return getattr(self.backend, "context", None) != "frame"

    @property
    def reanchor_s(self) -> float | None:
        """Seconds after which the model is run again within a segment; None for never."""
        return self.reanchor if isinstance(self.reanchor, int | float) else None

    def _results(
        self, windows: Iterable[Window], schedule: KeyframeSchedule, hook: Hook | None
    ) -> Iterator[FrameResult]:
        """Segment the frames of a video that is read in windows: one result a frame, in order."""
        backend = self.backend_of(schedule.points, schedule.times)
        runner = BackendRunner(backend, hook, device_of(self.propagator))
        found: dict[int, Mapping[str, Any]] = getattr(backend, "found", {})
        groups = ([ScheduledWindow(window, schedule)] for window in windows)
        frames = (
            frame.masks.result(
                frame.index,
                float(schedule.times[frame.index]),
                frame.is_keyframe,
                runner.class_names,
                replace(frame.origin, found=found.pop(frame.index, {})),
            )
            for frame in self._masks(groups, runner)
        )
        for result in on_cpu(frames):
            if hook:
                hook("propagation", result, result.index + 1, schedule.points.num_frames)
            yield result

    def _masks(
        self,
        groups: Iterable[Sequence[ScheduledWindow]],
        runner: Runner,
        lookahead: int | None = None,
    ) -> Iterator[FrameMasks]:
        """Eq. (2) and (3), over the windows of a video one by one, or over all clips of a call."""
        keyframes_of: Runner | CandidateRunner = runner
        if self.candidates:
            keyframes_of = CandidateRunner(
                runner, self.propagator, self.candidates, self.segment_batch
            )
        propagator = WindowPropagator(
            self.propagator, runner.backend.num_classes, self.segment_batch
        )
        for windows in groups:
            keyframes = keyframes_of.run(windows)
            yield from propagator.run(windows, keyframes, lookahead)


def _build_backend(config: Mapping[str, Any]) -> KeyframeBackend:
    """Build a backend from an mmengine config, in which the model may be one, too."""
    config = dict(config)
    if isinstance(config.get("model"), Mapping):
        config["model"] = build(MODELS, config["model"])
    return build(MODELS, config, verb="segment_keyframes")
