"""The video of a report: small, and in a format that every browser plays."""

import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from coprop_plugin import media
from coprop_plugin.media.encode import VideoWriter, mono_audio
from coprop_plugin.media.video_source import VideoSource
from coprop_plugin.report.images import jpeg_uri, shown_size
from coprop_plugin.types import DEFAULT_TRACKS, Tracks

_THUMBNAIL = 160
"""Pixels of the longer side of the still."""


@dataclass(frozen=True)
class PageVideo:
    """A video that `write_page_video` wrote, and what the page shows of it.

    Args:
        size: Height and width in pixels.
        duration_s: End of the last frame.
        waveform: `[samples]`, the whole audio track.
        sample_rate: In Hz.
        still: A thumbnail as a data URI.
    """

    size: tuple[int, int]
    duration_s: float
    waveform: Tensor
    sample_rate: int
    still: str


def write_page_video(
    source: Path, path: Path, still_s: float = 0.0, tracks: Tracks = DEFAULT_TRACKS
) -> PageVideo:
    """Transcode a video to H.264 with mono AAC, with a longer side of at most 640 pixels.

    All frames are kept, with their time stamps, upright and with square pixels.

    Args:
        source: Any video file.
        path: Where to write.
        still_s: Time of the thumbnail in seconds.
        tracks: Which tracks of the source to use.

    Raises:
        MediaError: If the source cannot be read, or the file cannot be written.
    """
    with warnings.catch_warnings():
        # The run that segmented the file already warned.
        warnings.simplefilter("ignore", media.MediaWarning)
        info = media.probe(source, fps=None, tracks=tracks)
        waveform, sample_rate = media.read_waveform(
            source, start_s=info.start_s, duration_s=info.duration_s, tracks=tracks
        )
    with ExitStack() as stack:
        video = stack.enter_context(VideoSource(source, quiet=True, tracks=tracks))
        writer = stack.enter_context(VideoWriter(path, audio=mono_audio(waveform, sample_rate)))
        still = None
        for time_s, length_s, frame in video.frames_with_lengths():
            picture = _small(video.picture(frame), float(video.pixel_aspect))
            writer.add(picture, time_s, length_s)
            if still is None or time_s <= still_s:
                still = picture
    # A video without a single frame raised above.
    assert still is not None
    height, width = still.shape[:2]
    thumbnail = Image.fromarray(still)
    thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL))
    uri = jpeg_uri(thumbnail)
    return PageVideo((height, width), info.duration_s, waveform, sample_rate, uri)


def _small(picture: np.ndarray, pixel_aspect: float) -> np.ndarray:
    height, width = shown_size(picture.shape[0], round(picture.shape[1] * pixel_aspect))
    if (height, width) == picture.shape[:2]:
        return picture
    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(resized)
