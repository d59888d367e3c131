"""Video files to clips: frame sampling, time stamps and audio."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, repeat
from pathlib import Path
from typing import get_args

import av
import numpy as np
import torch
from torch import Tensor

from coprop_plugin.errors import MediaError
from coprop_plugin.limits import CLIP_BYTES, FRAMES
from coprop_plugin.media.container import refuse_missing
from coprop_plugin.media.frame_folder import FrameFolder
from coprop_plugin.media.frame_source import FrameSource, OpenSource, Picture
from coprop_plugin.media.open_source import open_source
from coprop_plugin.media.packet_source import PacketSource
from coprop_plugin.media.soundtrack import read_waveform
from coprop_plugin.media.video_source import VideoSource
from coprop_plugin.types import AVSBENCH_INSTANT_S, DEFAULT_TRACKS, Clip, Sampling, Tracks

# Time stamps are rounded: a frame due at 66.67 ms may be stamped 67 (Matroska) and must still be
# found at 66.67. Clocks coarser than 1 kHz are not corrected.
MAX_ROUNDING_S = 0.0005


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video file, and the frames that a sampling would keep.

    Attributes:
        path: The file.
        size: Height and width in pixels, after the file's rotation tag is applied.
        duration_s: From the first picture to the end of the last one that can be decoded; at
            least a second for a single picture.
        frame_rate: Average frames per second according to the file.
        num_source_frames: Number of pictures that can be decoded.
        times: `[T]` float64, time stamps of the frames that the sampling keeps; `Clip.times`.
        sampling: The requested sampling.
        start_s: The container's own time at time 0.
        has_sound: Whether there is an audio stream.
        is_regular: Whether nothing is damaged and time stamps rise, so that reading can start in
            the middle.
        fps: The requested frames per second.
        tracks: The requested tracks.
    """

    path: Path
    size: tuple[int, int]
    duration_s: float
    frame_rate: float
    num_source_frames: int
    times: Tensor
    sampling: Sampling
    start_s: float
    has_sound: bool
    is_regular: bool = False
    fps: float | None = None
    tracks: Tracks = DEFAULT_TRACKS


def read_clip(
    path: str | Path,
    fps: float | None = 1.0,
    sampling: Sampling = "pts",
    tracks: Tracks = DEFAULT_TRACKS,
) -> Clip:
    """Read a video file with its audio into memory.

    Frames are upright: a rotation tag is applied, so a phone's portrait video gives portrait
    frames and masks. Time 0 is the first picture; `times` are the time stamps of the kept frames.
    A picture that is still shown at the next sampling time is kept again, with that time; the last
    one of a slide show is shown until the sound ends.

    Args:
        path: Any container that FFmpeg reads, with a video and an audio stream; or a folder of
            frames, see `FrameFolder`, of which all are kept.
        fps: Frames to keep per second; None keeps every frame. Of a folder, the rate of its frames.
        sampling: `"pts"`: the frame shown at k / fps for k = 0, 1, 2, and so on, at any frame
            rate. `"avsbench"`: AVSBench's preprocessing, one frame per second at s + 15/16 s,
            counted in frames of the rounded frame rate; past the end the last frame; a last
            second of less than half its length is left out. `fps` must be 1.
        tracks: Which tracks to read; by default those that players choose.

    Returns:
        The clip: frames uint8 at the file's own size, waveform `[samples]` at the file's own
        rate, as long as the video: late audio is preceded by silence, short audio is followed by
        silence, long audio is cut.

    Raises:
        MediaError: If the file is missing, empty, damaged, or has no video; if it exceeds one of
            `limits`; or if `fps` and `sampling` do not fit. The message names the file and the
            reason.

    Warns:
        MediaWarning: If the file is cut off or damaged (the readable part is kept), is silent, or
            its audio needed repair.

    Example:
        >>> clip = read_clip("street.mp4", fps=2)  # doctest: +SKIP
    """
    _check_sampling(fps, sampling)
    with open_source(path, tracks, fps) as source:
        return _clip_of(source, fps, sampling)


def read_frames(
    frames: str | Path | Sequence[str | Path],
    fps: float = 1.0,
    sampling: Sampling = "pts",
    tracks: Tracks = DEFAULT_TRACKS,
) -> Clip:
    """Read a folder or a list of pictures; see `Clip.from_frames`.

    Raises:
        MediaError: If a file cannot be read.
    """
    _check_sampling(fps, sampling)
    if isinstance(frames, str | Path):
        refuse_missing(Path(frames))
        return _clip_of(FrameFolder(frames, fps, tracks), fps, sampling)
    paths = [Path(path) for path in frames]
    return replace(
        _clip_of(FrameFolder(paths[0].parent, fps, tracks, paths), fps, sampling), source=None
    )


def _clip_of(source: OpenSource, fps: float | None, sampling: Sampling) -> Clip:
    if isinstance(source, FrameFolder):
        source.warn_of_gaps()
    times: list[float] = []
    kept = _Frames(_expected_count(source, fps), source.path)
    for time_s, frame in _sampled(source, fps, sampling):
        times.append(time_s)
        kept.append(source.picture(frame))
    waveform, sample_rate = read_waveform(
        source.path, start_s=source.start_s, duration_s=_duration_s(source), tracks=source.tracks
    )
    return Clip(
        kept.all(),
        waveform,
        sample_rate,
        torch.tensor(times, dtype=torch.float64),
        sampling=sampling,
        source=source.path,
        tracks=source.tracks,
    )


def open_video(
    path: str | Path,
    fps: float | None = 1.0,
    sampling: Sampling = "pts",
    tracks: Tracks = DEFAULT_TRACKS,
) -> Iterator[tuple[float, Tensor]]:
    """Yield the frames that `read_clip` would keep one by one, in bounded memory.

    Args:
        path: As for `read_clip`.
        fps: As for `read_clip`.
        sampling: As for `read_clip`.
        tracks: As for `read_clip`.

    Yields:
        The time in seconds and the frame, `[3, H, W]` uint8 RGB, upright.

    Raises:
        MediaError: As for `read_clip`, at the first frame.

    Example:
        >>> for time_s, frame in open_video("street.mp4"):  # doctest: +SKIP
        ...     print(time_s, frame.shape)
    """
    _check_sampling(fps, sampling)
    with open_source(path, tracks, fps) as source:
        for time_s, frame in _sampled(source, fps, sampling):
            yield time_s, torch.from_numpy(_channels_first(source.picture(frame)))


def probe(
    path: str | Path,
    fps: float | None = 1.0,
    sampling: Sampling = "pts",
    tracks: Tracks = DEFAULT_TRACKS,
    *,
    decode: bool = True,
) -> VideoInfo:
    """Return the properties of a video file and the times that `open_video` will yield.

    Every picture is decoded once (but not converted), because a container's index does not always
    list exactly the frames that can be decoded.

    Args:
        path: As for `read_clip`.
        fps: As for `read_clip`.
        sampling: As for `read_clip`.
        tracks: As for `read_clip`.
        decode: Whether to decode every frame. Otherwise the times are those of the file's packets
            if these are regular, and frames that cannot be decoded are included.

    Raises:
        MediaError: As for `read_clip`.

    Example:
        >>> probe("street.mp4", fps=2).times  # doctest: +SKIP
    """
    _check_sampling(fps, sampling)
    is_file = not Path(path).is_dir()
    if is_file and not decode and (packets := PacketSource.of(path, tracks)):
        return _info_of(packets, fps, sampling, tracks)
    with open_source(path, tracks, fps) as source:
        return _info_of(source, fps, sampling, source.tracks)


def _info_of(
    source: FrameSource[Picture], fps: float | None, sampling: Sampling, tracks: Tracks
) -> VideoInfo:
    if isinstance(source, FrameFolder):
        source.warn_of_gaps()
    times: list[float] = []
    size = (0, 0)
    for time_s, frame in _sampled(source, fps, sampling):
        if not times:
            size = source.picture(frame).shape[:2]
        times.append(time_s)
    return VideoInfo(
        path=source.path,
        size=size,
        duration_s=_duration_s(source),
        frame_rate=source.frame_rate,
        num_source_frames=source.num_frames,
        times=torch.tensor(times, dtype=torch.float64),
        sampling=sampling,
        start_s=source.start_s or 0.0,
        has_sound=source.has_sound,
        is_regular=source.is_regular,
        fps=fps,
        tracks=tracks,
    )


def open_video_at(info: VideoInfo, start: int = 0) -> Iterator[Tensor]:
    """Yield the frames that `probe` found from a given one on, without decoding all before it.

    If the file is not regular, or has no key frame to start from, it is decoded from its start.

    Args:
        info: The video.
        start: Index of the first frame to yield.

    Yields:
        The frames from `start` on, `[3, H, W]` uint8 RGB, upright; the same as of `open_video`.

    Raises:
        MediaError: As for `read_clip`.

    Example:
        >>> next(open_video_at(probe("street.mp4"), 30)).shape  # doctest: +SKIP
    """
    if info.path.is_dir():
        folder = FrameFolder(info.path, info.tracks.frame_rate or 1.0, info.tracks)
        for _, file in folder.frames(start):
            yield torch.from_numpy(_channels_first(folder.picture(file)))
        return
    if start and info.is_regular and start < len(info.times):
        with VideoSource(info.path, quiet=True, tracks=info.tracks) as source:
            if source.seek(float(info.times[start]), info.start_s):
                for frame in _sampled_from(source, info, start):
                    yield torch.from_numpy(_channels_first(source.picture(frame)))
                return
    frames = open_video(info.path, info.fps, info.sampling, info.tracks)
    yield from (frame for _, frame in islice(frames, start, None))


def _sampled_from(source: VideoSource, info: VideoInfo, start: int) -> Iterator[av.VideoFrame]:
    """Yield the pictures of the frames that a sampling keeps, from index `start` on."""
    wanted, rounding_s = deque(info.times[start:].tolist()), _rounding_s(source)
    shown: av.VideoFrame | None = None
    for time_s, frame in source.frames():
        while shown is not None and wanted and wanted[0] < time_s - rounding_s:
            wanted.popleft()
            yield shown
        if not wanted:
            return
        shown = frame
    if shown is not None:
        yield from repeat(shown, len(wanted))


def _check_sampling(fps: float | None, sampling: Sampling) -> None:
    if sampling not in get_args(Sampling):
        raise MediaError(f"Expected sampling 'pts' or 'avsbench', got {sampling!r}.")
    if fps is not None and not 0 < fps <= 1000:
        raise MediaError(
            f"Expected fps above 0 and up to 1000, or None to keep every frame, got fps={fps}."
        )
    if sampling == "avsbench" and fps != 1:
        raise MediaError(
            f"Expected fps=1 with sampling='avsbench', got fps={fps}. Leave fps at 1, or use "
            "sampling='pts'."
        )


def _duration_s(source: FrameSource[Picture]) -> float:
    # A single picture stands for a second, as in Clip.spans; its own length is too short.
    is_video = not isinstance(source, FrameFolder)
    return max(source.end_s, 1.0) if is_video and source.num_frames == 1 else source.end_s


def _sampled(
    source: FrameSource[Picture], fps: float | None, sampling: Sampling
) -> Iterator[tuple[float, Picture]]:
    if isinstance(source, FrameFolder):
        # A frame of AVSBench was taken at the end of its second.
        shift_s = AVSBENCH_INSTANT_S if sampling == "avsbench" else 0.0
        frames = ((time_s + shift_s, frame) for time_s, frame in source.frames())
    elif fps is None:
        frames = source.frames()
    elif sampling == "avsbench":
        frames = sample_avsbench(source.frames(), source.frame_rate)
    else:
        frames = sample_at_rate(source, fps)
    for number, frame in enumerate(frames, 1):
        FRAMES.check(number, source.path, MediaError)
        yield frame


def sample_at_rate(source: FrameSource[Picture], fps: float) -> Iterator[tuple[float, Picture]]:
    """Keep the frame shown at k / fps for k = 0, 1, 2, and so on; see `read_clip`.

    A time in the last half sampled frame of the video is left out, as FFmpeg does; otherwise ten
    seconds of video at 29.97 fps would end with an eleventh frame that stands for 0.01 s.
    """
    rounding_s = _rounding_s(source)
    k = 0
    current: tuple[float, Picture] | None = None
    for following in source.frames():
        if current is not None:
            for time_s in _kept_times(current[0], following[0] - rounding_s, k, fps):
                yield time_s, current[1]
                k += 1
        current = following
    # `frames` yields at least one, or raises.
    assert current is not None
    end_s = source.end_s - 0.5 / fps + rounding_s
    for time_s in _kept_times(current[0], end_s if k else max(end_s, rounding_s), k, fps):
        yield time_s, current[1]
        k += 1


def _rounding_s(source: FrameSource[Picture]) -> float:
    return min(source.tick_s / 2, MAX_ROUNDING_S)


def _kept_times(shown_s: float, until_s: float, k: int, fps: float) -> Iterator[float]:
    """Yield the times with which a frame shown from `shown_s` to `until_s` is kept."""
    first = k
    while k / fps < until_s:
        yield shown_s if k == first else k / fps
        k += 1


def sample_avsbench(
    frames: Iterable[tuple[float, Picture]], frame_rate: float
) -> Iterator[tuple[float, Picture]]:
    """Keep frame int(s r + 15 r / 16) of every second s, r the rounded frame rate.

    This is AVSBench's own preprocessing, which takes the last of 16 frames of each second.
    """
    rate = max(1, math.floor(frame_rate + 0.5))
    second = num_frames = 0
    for pair in frames:
        if num_frames == second * rate + 15 * rate // 16:
            yield pair
            second += 1
        num_frames += 1
    # AVSBench cuts its clips to whole seconds; half a second or more counts as one.
    if second < max(1, math.floor(num_frames / rate + 0.5)):
        yield pair


def _expected_count(source: OpenSource, fps: float | None) -> int:
    """Estimate how many frames will be kept; 0 if the file does not say."""
    if not isinstance(source, VideoSource):
        return source.num_frames
    if fps is None:
        return source.stream.frames
    return math.ceil(source.declared_s * fps)


def _channels_first(picture: np.ndarray) -> np.ndarray:
    # NumPy reorders a picture about nine times as fast as torch.
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


class _Frames:
    """A growing array `[T, 3, H, W]`; stacking a list would briefly hold every frame twice."""

    def __init__(self, expected: int, path: Path) -> None:
        self._expected, self._path = expected, path
        self._frames: np.ndarray | None = None
        self._count = 0

    def append(self, picture: np.ndarray) -> None:
        CLIP_BYTES.check((self._count + 1) * picture.size, self._path, MediaError)
        if self._frames is None:
            height, width, channels = picture.shape
            # A damaged file may announce any length; more than 1 GiB is allocated when needed.
            capacity = max(1, min(self._expected, 2**30 // picture.size))
            self._frames = np.empty((capacity, channels, height, width), np.uint8)
        if self._count == len(self._frames):
            more = np.empty((self._count, *self._frames.shape[1:]), np.uint8)
            self._frames = np.concatenate([self._frames, more])
        self._frames[self._count] = picture.transpose(2, 0, 1)
        self._count += 1

    def all(self) -> Tensor:
        # A video without a single frame raised before.
        assert self._frames is not None
        return torch.from_numpy(self._frames[: self._count])
