"""A video of any length as a sequence of short windows, each with context on both sides."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from coprop_plugin import media
from coprop_plugin.errors import MediaError
from coprop_plugin.layers import device_of
from coprop_plugin.pipeline.schedule import KeyframeSchedule
from coprop_plugin.types import (
    AVSBENCH_INSTANT_S,
    DEFAULT_TRACKS,
    Clip,
    ControlPoints,
    Propagator,
    Sampling,
    Tracks,
)


@dataclass(frozen=True)
class WindowLimits:
    """How much of a video is held in memory at once.

    Args:
        context_s: Seconds of context before and after a window's own frames: the clip length of
            the models we wrap (five frames, a second apart).
        frames_bytes: Of all frames of a window, unless their context alone takes more.
        window_s: No window is longer, so that memory does not grow with small frames.
        audio_samples: Longer audio is kept in a file: 4 MB, or a minute at 16 kHz.
    """

    context_s: float = 5.0
    frames_bytes: int = 32 * 2**20
    window_s: float = 60.0
    audio_samples: int = 2**20


@dataclass(frozen=True, eq=False)
class Window:
    """A piece of a video held in memory, and the frames in its middle that are its own.

    Args:
        clip: The frames at hand.
        start: Index in the video of the clip's first frame.
        frames: Indices in the video of the window's own frames, half-open.
    """

    clip: Clip
    start: int
    frames: range

    @classmethod
    def whole(cls, clip: Clip) -> "Window":
        """Return the window that is a whole clip."""
        return cls(clip, 0, range(clip.num_frames))

    def with_segment_audio(
        self, schedule: KeyframeSchedule, frames: Iterable[int] | None = None
    ) -> Clip:
        """Align each keyframe's audio window with its own segment.

        The audio of a frame is the 0.975 s before it, as released models were trained. At a control
        point that would be the previous segment, or with AVSBench's sampling, which takes frames at
        the end of their second, a part of it. So a keyframe's window begins no earlier than its
        segment, and ends with the segment at the latest.

        Args:
            schedule: Where segments begin.
            frames: The keyframes; those of the schedule by default.
        """
        spans, heard_at = self.clip.spans, self.clip.times.clone()
        last = self.start + self.clip.num_frames
        starts_s, segments = schedule.points.starts_s, schedule.points.segments
        for index in schedule.indices if frames is None else frames:
            if not self.start <= index < last or index in schedule.given:
                continue
            k = schedule.segment_of(index)
            t, end = index - self.start, min(segments[k].stop, last) - self.start
            start_s, end_s = float(spans[t, 0]), float(spans[end - 1, 1])
            if starts_s is not None:
                start_s = max(start_s, float(starts_s[k]))
                end_s = min([end_s, *starts_s[k + 1 : k + 2].tolist()])
            heard_at[t] = min(max(float(heard_at[t]), start_s + AVSBENCH_INSTANT_S), end_s)
        return replace(with_words(self.clip, schedule.points), heard_at=heard_at)


@dataclass(eq=False)
class ScheduledWindow:
    """A window, or a clip of a drop-in call, with the schedule of its keyframes.

    Args:
        window: The frames.
        schedule: Where segments begin in the video.
    """

    window: Window
    schedule: KeyframeSchedule
    _audio: list[Tensor | None] = field(default_factory=list)
    _moved: list[Clip] = field(default_factory=list)

    @property
    def clip(self) -> Clip:
        """The frames at hand."""
        return self.window.clip

    @property
    def segments(self) -> list[range]:
        """The segments that begin here, in frames of the video."""
        return self.schedule.segments_in(self.window.frames)

    @property
    def frames(self) -> range:
        """The window's own frames between the schedule's `start` and `stop`."""
        own, schedule = self.window.frames, self.schedule
        return range(max(own.start, schedule.start), min(own.stop, schedule.stop))

    def rest_of_segment(self, index: int) -> range:
        """Return the frames after one that lie in its segment and in this window."""
        return range(index + 1, min(self.schedule.end_of_segment(index), self.frames.stop))

    def local(self, frames: range) -> range:
        """Return frames of the video as frames of the clip at hand."""
        return range(frames.start - self.window.start, frames.stop - self.window.start)

    def audio(self, propagator: Propagator) -> Tensor | None:
        """Return the propagator's audio features of the clip, computed once."""
        if not self._audio:
            self._audio.append(propagator.hear(with_words(self.clip, self.schedule.points)))
        return self._audio[0]

    def clip_for(self, propagator: Propagator) -> Clip:
        """Return the clip with frames that a propagator can be given one by one without a wait.

        Frames on an accelerator are moved to a propagator that computes elsewhere all at once.
        Those on the CPU stay there, as all of a video may be too many for an accelerator's memory.
        """
        place, device = device_of(propagator), self.clip.frames.device
        if device in (torch.device("cpu"), place):
            return self.clip
        if not self._moved:
            self._moved.append(replace(self.clip, frames=self.clip.frames.to(place)))
        return self._moved[0]


def with_words(clip: Clip, points: ControlPoints) -> Clip:
    """Return a clip with the words of its control points, e.g. of a language model's answer.

    The clip's own words count before them.
    """
    return replace(clip, words=points.words) if clip.words is None and points.words else clip


class WindowedVideo(Protocol):
    """What is segmented window by window: a `StreamedVideo`, or a `ClipInHand`."""

    @property
    def audio(self) -> Clip:
        """The whole video; its frames may be absent."""
        ...

    def windows(
        self, start: int = 0, stop: int | None = None, ahead: int = 0, with_context: bool = True
    ) -> Iterator[Window]:
        """Yield the windows that hold the frames from `start` to `stop`."""
        ...


@dataclass(frozen=True, eq=False)
class ClipInHand:
    """A clip as a video of one window, for results one by one that are those of `segment`.

    Args:
        audio: The clip, frames and all.

    Example:
        >>> clip = Clip(torch.rand(3, 3, 8, 8), torch.zeros(48_000))
        >>> [window.frames for window in ClipInHand(clip).windows()]
        [range(0, 3)]
    """

    audio: Clip

    def windows(
        self, start: int = 0, stop: int | None = None, ahead: int = 0, with_context: bool = True
    ) -> Iterator[Window]:
        """Yield the one window; it holds all frames, and the context of each."""
        yield Window.whole(self.audio)


class StreamedVideo:
    """A video file that is read in windows: probed once, its audio read once.

    Args:
        path: A video file.
        fps: Frames a second to read; None takes all.
        sampling: See `Clip.from_file`.
        limits: How much to hold in memory.
        tracks: Which tracks to read.

    Attributes:
        audio: The whole video as a clip whose frames are absent (all zero, no memory).

    Raises:
        MediaError: If the file cannot be read.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float | None = 1.0,
        sampling: Sampling = "pts",
        limits: WindowLimits | None = None,
        tracks: Tracks = DEFAULT_TRACKS,
    ) -> None:
        self.path, self.fps, self.sampling = Path(path), fps, sampling
        self.limits = limits or WindowLimits()
        self.info = media.probe(path, fps=fps, sampling=sampling, tracks=tracks)
        self.audio = _audio_of(self.info, self.limits)

    def windows(
        self,
        start: int = 0,
        stop: int | None = None,
        ahead: int = 0,
        with_context: bool = True,
    ) -> Iterator[Window]:
        """Read the windows that hold the frames from `start` to `stop`.

        Args:
            start: The first frame that is wanted. With `stop` it is the first one that is read,
                but for context; without, the windows are those of the whole video, so that a
                resumed run sees what an uninterrupted one does.
            stop: The frame before which to stop.
            ahead: How many frames after a window its last segment may reach: further context.
            with_context: Whether the frames of the context are read. Otherwise only the window's
                own and those `ahead` are; of the others only the times are right. This saves most
                of the memory at high frame rates.

        Yields:
            Windows that cover each frame once. The frames of a window are overwritten by those of
            the next one.

        Raises:
            MediaError: If the file cannot be read, or has changed since it was opened.
        """
        times, num_frames = self.audio.times, self.audio.num_frames
        height, width = self.audio.size
        context = frames_within(times, self.limits.context_s) + ahead
        longest = frames_within(times, self.limits.window_s)
        before, after = (context, context) if with_context else (0, ahead)
        # Longer windows compute less of the context's audio twice.
        least = context if with_context else max(ahead, context // 4)
        fit = self.limits.frames_bytes // (3 * height * width) - before - after
        own = max(least, min(fit, longest))
        first, end = (start // own * own, num_frames) if stop is None else (start, stop)
        read = max(0, first - before)
        # One buffer for all windows, each frame at its place in the window: memory that is freed
        # and allocated for each makes a process grow. What is never written takes none.
        room = min(own, num_frames) + 2 * context
        buffer = torch.empty(room, 3, height, width, dtype=torch.uint8)
        held = first
        ahead_of_use = media.read_ahead(
            media.open_video_at(self.info, read), media.most_ahead(3 * height * width)
        )
        with closing(ahead_of_use) as frames:
            for window_start in range(first, end, own):
                window_stop = min(window_start + own, end)
                begin = max(0, window_start - context)
                until = min(window_stop + context, num_frames)
                wanted = range(max(0, window_start - before), min(window_stop + after, num_frames))
                shift = context - window_start
                for index in range(wanted.start, read):
                    buffer[index + shift] = buffer[index + context - held]
                for index in range(read, wanted.stop):
                    buffer[index + shift] = self._next(frames)
                held, read = window_start, wanted.stop
                clip = replace(
                    self.audio[begin:until], frames=buffer[begin + shift : until + shift]
                )
                yield Window(clip, begin, range(window_start, window_stop))

    def _next(self, frames: Iterator[Tensor]) -> Tensor:
        frame = next(frames, None)
        if frame is None:
            raise MediaError(
                f"{self.path} has fewer frames than when it was opened: it was changed meanwhile. "
                "Start again once the file is complete."
            )
        return frame


def read_audio(
    path: str | Path,
    fps: float | None = 1.0,
    sampling: Sampling = "pts",
    limits: WindowLimits | None = None,
    tracks: Tracks = DEFAULT_TRACKS,
) -> Clip:
    """Read the audio of a video as a clip whose frames are absent; no frame is decoded.

    The times of the frames are those of the file's packets. Where these are irregular (missing or
    backward time stamps), frames are decoded to find them.

    Args:
        path: A video file.
        fps: Frames a second; None takes all.
        sampling: See `Clip.from_file`.
        limits: How much audio to hold in memory.
        tracks: Which tracks to read.

    Raises:
        MediaError: If the file cannot be read.
    """
    info = media.probe(path, fps=fps, sampling=sampling, tracks=tracks, decode=False)
    return _audio_of(info, limits or WindowLimits())


def _audio_of(info: media.VideoInfo, limits: WindowLimits) -> Clip:
    waveform, sample_rate = media.read_waveform(
        info.path,
        start_s=info.start_s,
        duration_s=info.duration_s,
        in_memory=limits.audio_samples,
        tracks=info.tracks,
    )
    absent = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(len(info.times), 3, *info.size)
    return Clip(
        absent,
        waveform,
        sample_rate,
        info.times,
        sampling=info.sampling,
        source=info.path,
        tracks=info.tracks,
    )


def frames_within(times: Tensor, seconds: float, most: int | None = None) -> int:
    """Return the largest number of frames that lie within some seconds after any frame.

    Args:
        times: Of the frames, `[T]` seconds, rising.
        seconds: How long.
        most: No more frames than these.

    Example:
        >>> frames_within(torch.arange(10), 3.0), frames_within(torch.arange(10), 3.0, most=2)
        (4, 2)
    """
    ends = torch.searchsorted(times, times + seconds, right=True)
    found = int((ends - torch.arange(len(times))).max())
    return found if most is None else min(found, most)
