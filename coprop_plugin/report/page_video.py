"""The video of a report: small, in a form that every browser plays."""

import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from coprop_plugin import media
from coprop_plugin.media.encode import VideoWriter, blocks_of
from coprop_plugin.media.video_source import VideoSource
from coprop_plugin.report.images import data_uri, shown_size

_THUMBNAIL = 160


@dataclass(frozen=True)
class ShownVideo:
    """What `write_small_video` made.

    Args:
        size: Height and width in pixels, as shown.
        duration_s: When the last picture leaves the screen.
        waveform: `[samples]`, of all its sound.
        sample_rate: In Hz.
        still: A thumbnail in a data URI.
    """

    size: tuple[int, int]
    duration_s: float
    waveform: Tensor
    sample_rate: int
    still: str


def write_small_video(source: Path, path: Path, still_s: float = 0.0) -> ShownVideo:
    """Write a video once more, at most 640 pixels long, as H.264 with AAC.

    All pictures at their own times, upright, with square pixels; the sound in one channel.

    Args:
        source: Any video file.
        path: Where to write.
        still_s: Of which second to keep a thumbnail.

    Raises:
        MediaError: If the source cannot be read, or the file cannot be written.
    """
    with warnings.catch_warnings():
        # Whoever segmented the file was warned.
        warnings.simplefilter("ignore", media.MediaWarning)
        info = media.probe(source, fps=None)
        waveform, sample_rate = media.read_waveform(
            source, start_s=info.start_s, duration_s=info.duration_s
        )
    with ExitStack() as stack:
        video = stack.enter_context(VideoSource(source, quiet=True))
        writer = stack.enter_context(
            VideoWriter(path, sound=blocks_of(waveform), sample_rate=sample_rate)
        )
        before, still = None, None
        for time_s, frame in video.frames():
            picture = _small(video.picture(frame), float(video.pixel_aspect))
            if before is not None:
                writer.add(before[1], before[0], time_s - before[0])
            if still is None or time_s <= still_s:
                still = picture
            before = (time_s, picture)
        writer.add(before[1], before[0], video.end_s - before[0])
    height, width = still.shape[:2]
    thumbnail = Image.fromarray(still)
    thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL))
    uri = data_uri(thumbnail, "JPEG", quality=70)
    return ShownVideo((height, width), info.duration_s, waveform, sample_rate, uri)


def _small(picture: np.ndarray, pixel_aspect: float) -> np.ndarray:
    height, width = shown_size(picture.shape[0], round(picture.shape[1] * pixel_aspect))
    if (height, width) == picture.shape[:2]:
        return picture
    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(resized)
