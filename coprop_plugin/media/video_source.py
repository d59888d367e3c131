"""Decoder of a video file: upright pictures with times that start at the first picture."""

import math
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
import torch
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType

from coprop_plugin.errors import MediaError
from coprop_plugin.limits import DURATION_S, PIXELS
from coprop_plugin.media.choose_tracks import choose_video
from coprop_plugin.media.container import MediaWarning, decoded, max_jump_s, open_container
from coprop_plugin.media.planes import Planes, arrays_of, matrix_of
from coprop_plugin.media.sound_end import STILL_S, end_of_last_still
from coprop_plugin.media.stream_clock import StreamClock
from coprop_plugin.types import DEFAULT_TRACKS, Tracks

# FFmpeg's numbers of the transfer functions PQ and HLG.
HDR_TRANSFERS = (16, 18)

# A file may declare a longer duration than can be read. A smaller difference is rounding.
UNREAD_SLACK_S = 0.5

_PACKETS = (188, 192, 204)
"""Lengths of the packets of a transport stream in bytes: plain, with a time, with checks."""

_DURATION_TAG = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d*)?)")


class VideoSource:
    """The pictures of a video file, decoded once, in display order.

    Time 0 is the first picture that can be decoded. A picture whose time stamp is missing, goes
    back, or jumps by more than the length of the file is placed one frame after its predecessor,
    see `StreamClock`. The last one of some stills is shown until the sound ends, see
    `end_of_last_still`.

    Args:
        path: The file.
        quiet: Whether to suppress warnings, because they were given before.
        tracks: Which streams to use.

    Attributes:
        frame_rate: Average frames per second according to the file; 25 if it does not say.
        start_s: The container's own time at time 0; set after the first picture.
        end_s: End of the last picture; set after the last picture.
        num_frames: Number of pictures decoded so far.

    Raises:
        MediaError: On entering, if the file has no video, cannot be opened, or has larger pictures
            than `limits.PIXELS`.
    """

    def __init__(
        self, path: str | Path, *, quiet: bool = False, tracks: Tracks = DEFAULT_TRACKS
    ) -> None:
        self.path = Path(path)
        self.quiet, self.tracks = quiet, tracks
        self.start_s: float | None = None
        self.end_s = 0.0
        self.num_frames = 0
        self._num_damaged = 0
        self._num_irregular = 0
        self._has_stills = False
        self._is_hdr = False
        self._sought: Iterator[av.VideoFrame] | None = None
        self._fitting: _Fitting | None = None

    def __enter__(self) -> "VideoSource":
        self._opened = open_container(self.path)
        self.container = self._opened.__enter__()
        try:
            self.stream = choose_video(self.container, self.path, self.tracks.video)
            codec = self.stream.codec_context
            PIXELS.check(codec.width * codec.height, self.path, MediaError)
        except MediaError:
            self.__exit__(None, None, None)
            raise
        # Frame threading is two to eight times faster than slice threading.
        self.stream.thread_type, codec.thread_count = "AUTO", torch.get_num_threads()
        self._opened_aspect = codec.sample_aspect_ratio
        self.frame_rate = float(self.stream.average_rate or self.stream.guessed_rate or 25)
        self._clock = StreamClock(max_jump_s(self.container))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opened.__exit__(None, None, None)

    @property
    def tick_s(self) -> float:
        """Step of the file's time stamps in seconds."""
        return float(self.stream.time_base or 1e-6)

    @property
    def pixel_aspect(self) -> Fraction:
        """Width over height of an upright pixel. After the first `picture` or `planes` only."""
        return self._fitting.pixel_aspect if self._fitting else Fraction(1)

    @property
    def has_sound(self) -> bool:
        """Whether there is an audio stream."""
        return bool(self.tracks.sound or self.container.streams.audio)

    @property
    def is_regular(self) -> bool:
        """Whether everything so far was undamaged, with rising time stamps and of one size."""
        return not (self._num_damaged or self._num_irregular) and bool(self.container.duration)

    def seek(self, time_s: float, start_s: float) -> bool:
        """Seek to the last key frame up to a time, so that `frames` starts there.

        Args:
            time_s: In seconds from the first picture.
            start_s: The container's own time at time 0.

        Returns:
            Whether there is such a key frame. If not, open the file again to read it.
        """
        self.start_s = start_s
        if self.stream.time_base is None:
            return False
        offset = int((start_s + time_s) / self.stream.time_base)
        try:
            self.container.seek(offset, stream=self.stream, backward=True)
        except av.error.FFmpegError:
            return False
        frames = self._decoded()
        first = next(frames, None)
        if first is None or not first.key_frame or first.pts is None or first.time_base is None:
            return False
        if float(first.pts * first.time_base) - start_s > time_s + self.tick_s / 2:
            return False
        self._sought = chain([first], frames)
        return True

    def frames(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """Yield each picture with its time in seconds, strictly rising.

        Damaged pictures are kept, as in any player; at the end a `MediaWarning` tells how much of
        the file could be read.

        Raises:
            MediaError: If not a single picture can be decoded, or the file is longer than
                `limits.DURATION_S`.
        """
        nominal_s = 1 / self.frame_rate
        time_s = -nominal_s
        size: tuple[int, int] | None = None
        for frame in self._sought or self._decoded():
            # PyAV makes a new fraction each time that it is asked.
            tick = frame.time_base
            previous_s, time_s = time_s, self._time_after(time_s, frame.pts, tick, nominal_s)
            self._has_stills |= self.num_frames > 0 and time_s - previous_s >= STILL_S
            self._is_hdr |= frame.color_trc in HDR_TRANSFERS
            self.num_frames += 1
            self.end_s = time_s + self._length_s(frame.duration, tick, time_s, nominal_s)
            DURATION_S.check(self.end_s, self.path, MediaError)
            if size != (frame.width, frame.height):
                # The size may change within a video.
                PIXELS.check(frame.width * frame.height, self.path, MediaError)
                self._num_irregular += size is not None
                size = size or (frame.width, frame.height)
            yield time_s, frame
        if not self.num_frames:
            raise MediaError(
                f"{self.path} has a video stream, but none of its pictures can be decoded: the "
                "file is damaged or cut off. Download, copy or export it again."
            )
        self.end_s = self.end_with_sound(self._has_stills or self.num_frames == 1)
        self._warn_of_damage()
        self._warn_of_hdr()

    def frames_with_lengths(self) -> Iterator[tuple[float, float, av.VideoFrame]]:
        """Yield the time and the length in seconds of each picture of `frames`, and the picture."""
        current: tuple[float, av.VideoFrame] | None = None
        for following in self.frames():
            if current is not None:
                yield current[0], following[0] - current[0], current[1]
            current = following
        if current is not None:
            yield current[0], self.end_s - current[0], current[1]

    def _length_s(
        self, duration: int | None, tick: Fraction | None, time_s: float, nominal_s: float
    ) -> float:
        length_s = nominal_s
        if duration and tick:
            length_s = _seconds(duration, tick)
        if not (self.stream.duration and self.stream.codec_context.has_b_frames):
            return length_s
        # With reordered pictures (B-frames), mp4 stores the difference of decoding times, not of
        # display times; for the last picture only the length of the track can tell.
        left_s = self.declared_s - time_s
        return min(length_s, left_s if left_s > 0 else nominal_s)

    @property
    def declared_s(self) -> float:
        """Length of the video in seconds according to the file; 0 if it does not say."""
        if self.stream.duration:
            return float(self.stream.duration * (self.stream.time_base or 0))
        # Matroska has the end of each track in a tag, on the container's own clock.
        tag = _DURATION_TAG.match(self.stream.metadata.get("DURATION", ""))
        if tag is None:
            return 0.0
        hours, minutes, seconds = (float(part) for part in tag.groups())
        return max(0.0, 3600 * hours + 60 * minutes + seconds - (self.start_s or 0.0))

    def _time_after(
        self, previous_s: float, stamp: int | None, tick: Fraction | None, nominal_s: float
    ) -> float:
        if stamp is None or tick is None:
            self.start_s = 0.0 if self.start_s is None else self.start_s
            self._num_irregular += 1
            return previous_s + nominal_s
        stamp_s = _seconds(stamp, tick)
        if self.start_s is None:
            self.start_s = stamp_s
        time_s = self._clock.time_of(stamp_s - self.start_s, previous_s + nominal_s)
        self._num_irregular += time_s != stamp_s - self.start_s
        return time_s

    def _decoded(self) -> Iterator[av.VideoFrame]:
        damage: Counter[str] = Counter()
        for frame in decoded(self.container, self.stream, damage):
            self._num_damaged = damage["pieces"]
            yield frame
        self._num_damaged = damage["pieces"]

    def end_with_sound(self, has_stills: bool) -> float:
        """Return `end_s`, or the end of the sound, while which the last of some stills is shown."""
        if not has_stills or not self.has_sound or self._num_damaged:
            return self.end_s
        return end_of_last_still(self.path, self.tracks, self.start_s or 0.0, self.end_s)

    def _warn_of_damage(self) -> None:
        declared_s = self.declared_s
        cut_off = declared_s - self.end_s > max(UNREAD_SLACK_S, 0.02 * declared_s)
        if self.quiet:
            return
        torn = self._ends_within_packet()
        if not (self._num_damaged or cut_off or torn):
            return
        declared = f"{declared_s:.2f} s" if declared_s else "no length"
        if self.stream.frames:
            declared = f"{self.stream.frames} frames ({declared})"
        damage = f", damaged pieces of it: {self._num_damaged}" if self._num_damaged else ""
        fault = f"declares {declared} of video, but only"
        if torn:
            fault = "ends within a packet, so it was cut off;"
        warnings.warn(
            f"{self.path} {fault} {self.num_frames} frames "
            f"({self.end_s:.2f} s) could be read{damage}. Continuing with the readable part; "
            "download, copy or export the file again for the rest.",
            MediaWarning,
            # The same for all callers, so that Python shows it once however often it is raised.
            stacklevel=2,
        )

    def _ends_within_packet(self) -> bool:
        """Whether the file is a transport stream that was cut off in the middle of a packet."""
        is_stream = self.container.format.name == "mpegts"
        return is_stream and all(self.path.stat().st_size % length for length in _PACKETS)

    def _warn_of_hdr(self) -> None:
        if self._is_hdr and not self.quiet:
            warnings.warn(
                f"{self.path} is HDR video (PQ or HLG), which models have not been trained on: its "
                "pictures are used as they are stored, pale and with dull colours. If masks are "
                "poor, convert it to SDR first: in an editor, or by FFmpeg's `tonemap` filter.",
                MediaWarning,
                stacklevel=2,
            )

    def picture(self, frame: av.VideoFrame) -> np.ndarray:
        """Return a frame upright, `[H, W, 3]` uint8 RGB, in the size of the first frame.

        A frame of another size is scaled with its aspect kept, and centred on black.
        """
        return self._fit(frame).picture(frame, self._coded_aspect)

    def planes(self, frame: av.VideoFrame) -> Planes | None:
        """Return a copy of a frame upright, in 4:2:0 as it is stored.

        None if it is stored otherwise, or not in the size of the first frame.
        """
        size, matrix = self._fit(frame).size, matrix_of(frame)
        if matrix is None or _Fitting.of(frame, self._coded_aspect).size != size:
            return None
        made = Planes(*size, matrix)
        for plane, stored in zip(made.arrays, arrays_of(frame), strict=True):
            plane[:] = upright(stored, frame)
        return made

    @property
    def _coded_aspect(self) -> Fraction:
        """Width over height of a stored pixel: as the container says, unless a picture changes it.

        Of several codecs (ProRes, DNxHD, VP9) only the container says it.
        """
        coded = self.stream.codec_context.sample_aspect_ratio
        if coded is None or coded == self._opened_aspect:
            coded = self.stream.sample_aspect_ratio
        return coded or Fraction(1)

    def _fit(self, frame: av.VideoFrame) -> "_Fitting":
        if self._fitting is None:
            self._fitting = _Fitting.of(frame, self._coded_aspect)
        return self._fitting


@dataclass(frozen=True)
class _Fitting:
    """The size of all pictures of a video: that of the first one, upright."""

    size: tuple[int, int]
    pixel_aspect: Fraction

    @classmethod
    def of(cls, frame: av.VideoFrame, coded: Fraction) -> "_Fitting":
        if on_its_side(frame):
            return cls((frame.width, frame.height), 1 / coded)
        return cls((frame.height, frame.width), coded)

    def picture(self, frame: av.VideoFrame, coded: Fraction) -> np.ndarray:
        own = self.of(frame, coded)
        height, width = self.size
        if own.size != self.size:
            shown_width = own.size[1] * own.pixel_aspect / self.pixel_aspect
            scale = min(height / own.size[0], width / float(shown_width))
            height = min(height, max(1, round(own.size[0] * scale)))
            width = min(width, max(1, round(float(shown_width) * scale)))
        on_side = on_its_side(frame)
        # By default a thread pool is created for every frame, which takes longer than the work.
        rgb = frame.to_ndarray(
            format="rgb24",
            width=height if on_side else width,
            height=width if on_side else height,
            threads=1,
        )
        turned = upright(rgb, frame)
        if (height, width) == self.size:
            return turned
        canvas = np.zeros((*self.size, 3), np.uint8)
        top, left = (self.size[0] - height) // 2, (self.size[1] - width) // 2
        canvas[top : top + height, left : left + width] = turned
        return canvas


def _seconds(ticks: int, tick: Fraction) -> float:
    # Rounded once, as `float(ticks * tick)` is, but without making fractions.
    return ticks * tick.numerator / tick.denominator


def _display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    # `frame.side_data` would create a reference cycle, which keeps pictures in memory.
    container = SideDataContainer(frame)  # type: ignore[call-arg]  # PyAV's stub has no argument
    turn = container.get(SideDataType.DISPLAYMATRIX)
    return None if turn is None else np.frombuffer(turn, np.int32).reshape(3, 3)


def on_its_side(frame: av.VideoFrame) -> bool:
    """Whether the display matrix of a frame swaps its height and width."""
    matrix = _display_matrix(frame)
    if matrix is None:
        return False
    (a, b, _), (c, d, _), _ = matrix
    return math.hypot(b, c) > math.hypot(a, d)


def upright(picture: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Rotate a decoded picture `[H, W, ...]` as its frame's display matrix says.

    A matrix between two quarter turns counts as the nearest of them.
    """
    matrix = _display_matrix(frame)
    if matrix is None:
        return picture
    # A pixel goes from (x, y) to (a x + c y, b x + d y), x to the right and y down.
    (a, b, _), (c, d, _), _ = matrix
    if on_its_side(frame):
        picture = picture.swapaxes(0, 1)
        to_right, to_bottom = c, b
    else:
        to_right, to_bottom = a, d
    picture = picture[::-1] if to_bottom < 0 else picture
    picture = picture[:, ::-1] if to_right < 0 else picture
    return np.ascontiguousarray(picture)
