"""The times of a video's frames from its packets, without decoding them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from coprop_plugin.errors import MediaError
from coprop_plugin.limits import DURATION_S
from coprop_plugin.media.container import max_jump_s, packets_of
from coprop_plugin.media.sound_end import STILL_S
from coprop_plugin.media.video_source import VideoSource
from coprop_plugin.types import DEFAULT_TRACKS, Tracks


@dataclass
class PacketSource:
    """A `FrameSource` that has the times of all frames, but only the first picture.

    Attributes:
        path: The file.
        frame_rate: As of `VideoSource`.
        start_s: As of `VideoSource`.
        end_s: As of `VideoSource`.
        tick_s: As of `VideoSource`.
        has_sound: As of `VideoSource`.
        num_frames: Number of packets whose frames are shown.
    """

    path: Path
    frame_rate: float
    start_s: float
    end_s: float
    tick_s: float
    has_sound: bool
    num_frames: int
    _times: list[float]
    _first: np.ndarray
    is_regular: bool = True

    @classmethod
    def of(cls, path: str | Path, tracks: Tracks = DEFAULT_TRACKS) -> "PacketSource | None":
        """Read the packets of a file; None if their time stamps cannot be relied on.

        Raises:
            MediaError: If the file cannot be opened, or its first frame cannot be decoded.
        """
        damage: Counter[str] = Counter()
        with VideoSource(path, quiet=True, tracks=tracks) as source:
            stamps = _stamps(source, damage)
            longest_s = max_jump_s(source.container)
        with VideoSource(path, quiet=True, tracks=tracks) as source:
            _, frame = next(source.frames())
            if damage or stamps is None or frame.pts != stamps[0][0] or not source.is_regular:
                return None
            start_s, tick = source.start_s or 0.0, source.stream.time_base or Fraction(0)
            times = [float(pts * tick) - start_s for pts, _ in stamps]
            gaps = np.diff(times)
            if len(gaps) and not (gaps.min() > 0 and gaps.max() <= longest_s):
                return None
            last = float((stamps[-1][1] or 0) * tick) or 1 / source.frame_rate
            if source.stream.duration and source.stream.codec_context.has_b_frames:
                left_s = source.declared_s - times[-1]
                last = min(last, left_s if left_s > 0 else 1 / source.frame_rate)
            source.end_s = times[-1] + last
            has_stills = len(times) == 1 or bool(gaps.max() >= STILL_S)
            return cls(
                Path(path),
                source.frame_rate,
                start_s,
                source.end_with_sound(has_stills),
                source.tick_s,
                source.has_sound,
                len(times),
                times,
                source.picture(frame),
            )

    def frames(self) -> Iterator[tuple[float, None]]:
        """Yield the time of each frame in seconds, and None instead of its picture."""
        for time_s in self._times:
            yield time_s, None

    def picture(self, frame: None) -> np.ndarray:
        """Return the first frame upright, `[H, W, 3]` uint8 RGB."""
        return self._first


def _stamps(source: VideoSource, damage: Counter[str]) -> list[tuple[int, int | None]] | None:
    """Return time stamp and duration of each packet in display order; None without them."""
    stamps = []
    decoded_at: int | None = None
    for packet in packets_of(source.container, source.stream, damage):
        if packet.is_discard or not packet.size:
            continue
        if packet.is_corrupt or packet.pts is None:
            return None
        if packet.dts is not None:
            if decoded_at is not None and packet.dts <= decoded_at:
                # Joined files, whose time stamps start again.
                return None
            decoded_at = packet.dts
        stamps.append((packet.pts, packet.duration))
    if not stamps:
        return None
    stamps.sort(key=lambda stamp: stamp[0])
    seconds = (stamps[-1][0] - stamps[0][0]) * float(source.stream.time_base or 0)
    DURATION_S.check(seconds, source.path, MediaError)
    return stamps
