"""A video file written once more, its pictures changed, its time stamps and its sound kept."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import av
import numpy as np
from torch import Tensor

from coprop_plugin.errors import MediaError
from coprop_plugin.media.container import open_container, packets_of
from coprop_plugin.media.encode import VideoWriter
from coprop_plugin.media.soundtrack import SoundBlock, sound_blocks
from coprop_plugin.media.video_formats import MP4, VideoFormat
from coprop_plugin.media.video_source import VideoSource

LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 8: "7.1"}

# Sound that begins before the first picture is cut, but a codec's run-in must stay.
RUN_IN_S = 0.1

Change = Callable[[np.ndarray, float], np.ndarray]
"""From a picture `[H, W, 3]` uint8 and its time in seconds to the one that takes its place."""


def write_again(path: Path, source: str | Path, change: Change, form: VideoFormat = MP4) -> None:
    """Write every picture of a video as `change` makes it, at its own time, with the sound.

    The packets of the sound are copied where the form can hold them, else encoded anew.

    Args:
        path: Where to write.
        source: The video file.
        change: Asked about the pictures in order.
        form: Of the new file.

    Raises:
        MediaError: If the source cannot be read, or the file cannot be written.
    """
    try:
        _write(path, Path(source), change, form, copy_sound=True)
    except MediaError:
        # Some packets (AAC from a broken stream, say) do not go into an mp4 as they are.
        _write(path, Path(source), change, form, copy_sound=False)


class Spans:
    """Which of several spans of time a moment lies in.

    Args:
        spans: `[T, 2]`, start and end in seconds, rising.

    Example:
        >>> import torch
        >>> spans = Spans(torch.tensor([[0.5, 1.0], [1.0, 1.5]]))
        >>> [spans.at(time_s) for time_s in (0.0, 0.5, 1.2, 1.6, 1.8)]
        [None, 0, 1, 1, None]
    """

    def __init__(self, spans: Tensor) -> None:
        self._starts, ends = spans.numpy().T
        # Rounding, and the last fraction of a frame or second, still belong to the last span.
        self._last_s = ends[-1] + (ends[-1] - self._starts[-1]) / 2

    def at(self, time_s: float) -> int | None:
        """Return the number of the span, None before the first and after the last."""
        index = int(np.searchsorted(self._starts, time_s + 1e-6, side="right")) - 1
        return None if index < 0 or time_s >= self._last_s else index


def _write(
    path: Path, source_path: Path, change: Change, form: VideoFormat, copy_sound: bool
) -> None:
    with ExitStack() as stack:
        source = stack.enter_context(VideoSource(source_path, quiet=True))
        frames = _with_lengths(source)
        first = next(frames)
        sound = _sound_of(source, form, copy_sound, stack)
        writer = stack.enter_context(VideoWriter(path, form, **sound))
        for time_s, length_s, frame in _chain(first, frames):
            picture = source.picture(frame)
            writer.pixel_aspect = source.pixel_aspect
            writer.add(change(picture, time_s), time_s, length_s)


def _chain(first: tuple, rest: Iterator[tuple]) -> Iterator[tuple]:
    yield first
    yield from rest


def _with_lengths(source: VideoSource) -> Iterator[tuple[float, float, av.VideoFrame]]:
    current = None
    for following in source.frames():
        if current is not None:
            yield current[0], following[0] - current[0], current[1]
        current = following
    yield current[0], source.end_s - current[0], current[1]


def _sound_of(source: VideoSource, form: VideoFormat, copy_sound: bool, stack: ExitStack) -> dict:
    if not source.has_sound:
        return {}
    start_s = source.start_s or 0.0
    codec = source.container.streams.audio[0].codec_context
    if copy_sound and codec is not None and codec.name in form.copied:
        container = stack.enter_context(open_container(source.path))
        stream = container.streams.audio[0]
        return {"sound_copy": stream, "packets": _shifted(container, stream, start_s)}
    blocks = sound_blocks(source.path, start_s, Counter())
    first = next(blocks, None)
    if first is None:
        return {}
    channels = first.samples.shape[0]
    return {
        "sound": _without_gaps(first, blocks, mono=channels not in LAYOUTS),
        "sample_rate": first.sample_rate,
        "layout": LAYOUTS.get(channels, "mono"),
    }


def _shifted(container: av.container.InputContainer, stream, start_s: float) -> Iterator:
    offset = round(start_s / stream.time_base)
    for packet in packets_of(container, stream, Counter()):
        if packet.pts is None or packet.dts is None or not packet.size:
            continue
        packet.pts -= offset
        packet.dts -= offset
        if float((packet.pts + (packet.duration or 0)) * stream.time_base) > -RUN_IN_S:
            yield packet


def _without_gaps(
    first: SoundBlock, rest: Iterator[SoundBlock], mono: bool
) -> Iterator[np.ndarray]:
    """Yield `[channels, samples]` that follow one another from time 0 on, silence in the gaps."""
    cursor = 0
    for block in _chain(first, rest):
        samples = block.samples.mean(0, keepdims=True) if mono else block.samples
        if block.position > cursor:
            yield np.zeros((len(samples), block.position - cursor), np.float32)
            cursor = block.position
        if block.end > cursor:
            yield samples[:, cursor - block.position :]
            cursor = block.end
