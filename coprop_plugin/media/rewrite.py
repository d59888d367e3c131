"""A video file written again with other pictures, but the same time stamps and audio."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from torch import Tensor

from coprop_plugin.errors import MediaError
from coprop_plugin.media.choose_tracks import choose_audio
from coprop_plugin.media.container import open_container, packets_of
from coprop_plugin.media.encode import CopiedAudio, EncodedAudio, VideoWriter
from coprop_plugin.media.frame_source import OpenSource
from coprop_plugin.media.open_source import open_source
from coprop_plugin.media.planes import Planes
from coprop_plugin.media.read_ahead import read_ahead
from coprop_plugin.media.soundtrack import SoundBlock, sound_blocks
from coprop_plugin.media.video_formats import MP4, VideoFormat
from coprop_plugin.media.video_source import VideoSource
from coprop_plugin.types import DEFAULT_TRACKS, Tracks

LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 8: "7.1"}

# Audio before the first picture is cut, except for a codec's priming samples.
PRIMING_S = 0.1

Change = Callable[[np.ndarray, float], np.ndarray]
"""From a picture `[H, W, 3]` uint8 and its time in seconds to the picture that replaces it."""

ChangePlanes = Callable[[Planes, float], None]
"""Changes a picture in 4:2:0; its time is in seconds."""


def rewrite_video(
    path: Path,
    source: str | Path,
    change: Change,
    video_format: VideoFormat = MP4,
    tracks: Tracks = DEFAULT_TRACKS,
    change_planes: ChangePlanes | None = None,
) -> None:
    """Write every picture of a video as `change` returns it, at its own time, with the audio.

    Audio packets are copied if the format can hold them, and encoded otherwise.

    Args:
        path: Where to write.
        source: The video file.
        change: Called for each picture in order.
        video_format: Of the new file.
        tracks: Which tracks of the source to use.
        change_planes: Called instead for pictures that are stored in 4:2:0, for a format in 4:2:0:
            in half the time, and without a loss.

    Raises:
        MediaError: If the source cannot be read, or the file cannot be written.
    """
    changes = change, change_planes
    try:
        _write(path, Path(source), changes, video_format, tracks, copy_audio=True)
    except MediaError:
        # Some packets, e.g. AAC whose time stamps go back, cannot be copied into an mp4.
        _write(path, Path(source), changes, video_format, tracks, copy_audio=False)


class Spans:
    """Look-up of the span that contains a time.

    Args:
        spans: `[T, 2]`, start and end in seconds, rising.

    Example:
        >>> import torch
        >>> spans = Spans(torch.tensor([[0.5, 1.0], [1.0, 1.5]]))
        >>> [spans.at(time_s) for time_s in (0.0, 0.5, 1.2, 1.6, 1.8)]
        [None, 0, 1, 1, None]
    """

    ROUNDING_S = 1e-6

    def __init__(self, spans: Tensor) -> None:
        self._starts, ends = spans.numpy().T
        # Half a span more: the last one also covers rounding and an incomplete frame or second.
        self._last_s = ends[-1] + (ends[-1] - self._starts[-1]) / 2

    def at(self, time_s: float) -> int | None:
        """Return the index of the span; None before the first and after the last."""
        return None if time_s >= self._last_s else self.last_started(self._starts, time_s)

    def last_started(self, starts: Sequence[float] | np.ndarray, time_s: float) -> int | None:
        """Return the index of the last span that has begun, from the starts of all; or None."""
        index = bisect_right(starts, time_s + self.ROUNDING_S) - 1
        return None if index < 0 else index


def _write(
    path: Path,
    source_path: Path,
    changes: tuple[Change, ChangePlanes | None],
    video_format: VideoFormat,
    tracks: Tracks,
    copy_audio: bool,
) -> None:
    with ExitStack() as stack:
        source = stack.enter_context(open_source(source_path, tracks, quiet=True))
        frames = source.frames_with_lengths()
        # The clock starts with the first frame, and audio is placed on that clock.
        first = next(frames)
        audio = _audio_of(source, video_format, copy_audio, stack)
        writer = stack.enter_context(VideoWriter(path, video_format, audio=audio))
        change, change_planes = changes
        pictures = _pictures(source, chain([first], frames), change_planes is not None)
        for time_s, length_s, picture in stack.enter_context(closing(read_ahead(pictures, 2))):
            writer.pixel_aspect = source.pixel_aspect
            if isinstance(picture, Planes):
                assert change_planes is not None
                change_planes(picture, time_s)
            else:
                picture = change(picture, time_s)
            writer.add(picture, time_s, length_s)


def _pictures(
    source: OpenSource, frames: Iterable[tuple[float, float, Any]], as_planes: bool
) -> Iterator[tuple[float, float, np.ndarray | Planes]]:
    for time_s, length_s, frame in frames:
        planes = source.planes(frame) if as_planes and isinstance(source, VideoSource) else None
        yield time_s, length_s, source.picture(frame) if planes is None else planes


def _audio_of(
    source: OpenSource, video_format: VideoFormat, copy_audio: bool, stack: ExitStack
) -> CopiedAudio | EncodedAudio | None:
    if not source.has_sound:
        return None
    tracks, start_s = source.tracks, source.start_s or 0.0
    # Packets keep neither a change of sample rate nor one of channels.
    scanned = {
        (block.own_rate, len(block.samples))
        for block in sound_blocks(source.path, start_s, Counter(), tracks)
    }
    if not scanned:
        return None
    if copy_audio and len(scanned) == 1 and tracks.sound is None:
        container = stack.enter_context(open_container(source.path))
        stream = choose_audio(container, source.path, tracks)
        if stream is not None and stream.codec_context.name in video_format.copied:
            return CopiedAudio(stream, _shifted(container, stream, start_s))
    sample_rate, channels = max(rate for rate, _ in scanned), {count for _, count in scanned}
    layout = LAYOUTS.get(min(channels)) if len(channels) == 1 else None
    blocks = sound_blocks(source.path, start_s, Counter(), tracks, sample_rate)
    samples = _without_gaps(blocks, mono=layout is None)
    return EncodedAudio(samples, sample_rate, layout or "mono")


def _shifted(
    container: av.container.InputContainer, stream: av.AudioStream, start_s: float
) -> Iterator[av.Packet]:
    time_base = stream.time_base
    if time_base is None:
        # Without a clock no packet has a time stamp.
        return
    for packet in packets_of(container, stream, Counter()):
        if packet.pts is None or packet.dts is None or not packet.size:
            continue
        packet.pts -= round(start_s / time_base)
        packet.dts -= round(start_s / time_base)
        if float((packet.pts + (packet.duration or 0)) * time_base) > -PRIMING_S:
            yield packet


def _without_gaps(blocks: Iterator[SoundBlock], mono: bool) -> Iterator[np.ndarray]:
    """Yield consecutive `[channels, samples]` from time 0 on, with silence in the gaps."""
    cursor = 0
    for block in blocks:
        samples = block.samples.mean(0, keepdims=True) if mono else block.samples
        if block.position > cursor:
            yield np.zeros((len(samples), block.position - cursor), np.float32)
            cursor = block.position
        if block.end > cursor:
            yield samples[:, cursor - block.position :]
            cursor = block.end
