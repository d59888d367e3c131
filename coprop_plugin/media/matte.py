"""Frames with the probability that a pixel sounds as their alpha channel."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from coprop_plugin.media.masks import picture_name, read_picture
from coprop_plugin.media.open_source import open_source
from coprop_plugin.media.rewrite import Spans
from coprop_plugin.types import DEFAULT_TRACKS, Tracks


def with_alpha(picture: np.ndarray, probs: np.ndarray | None) -> np.ndarray:
    """Append an alpha channel `[H, W]` uint8 to a picture `[H, W, 3]`; None is transparent."""
    size = picture.shape[:2]
    if probs is None:
        probs = np.zeros(size, np.uint8)
    if probs.shape != size:
        resized = Image.fromarray(probs).resize(size[::-1], Image.Resampling.BILINEAR)
        probs = np.array(resized)
    return np.dstack([picture, probs])


def save_alpha(picture: np.ndarray, probs: np.ndarray, folder: Path, index: int) -> None:
    """Write frame `index` with its alpha channel as a PNG."""
    matte = Image.fromarray(with_alpha(picture, probs))
    matte.save(folder / picture_name(index), compress_level=3)


def save_alphas_of(
    source: Path, times: Sequence[float], probs: Path, folder: Path, tracks: Tracks = DEFAULT_TRACKS
) -> None:
    """Write the frames of a video that are shown at given times, with alpha channels.

    Args:
        source: The video.
        times: As in `pictures_at`.
        probs: The folder of their probabilities.
        folder: Where to write.
        tracks: Which tracks of the video to use.

    Raises:
        MediaError: If the video cannot be read.
    """
    for index, picture in enumerate(pictures_at(source, times, tracks)):
        save_alpha(picture, read_picture(probs, index), folder, index)


def pictures_at(
    source: Path, times: Sequence[float], tracks: Tracks = DEFAULT_TRACKS
) -> Iterator[np.ndarray]:
    """Yield the picture `[H, W, 3]` uint8 of a video that is shown at each of several times.

    Args:
        source: The video.
        times: In seconds, rising.
        tracks: Which tracks of the video to use.

    Raises:
        MediaError: If the video cannot be read.
    """
    with open_source(source, tracks, quiet=True) as video:
        index = 0
        shown: Any = None
        for time_s, frame in video.frames():
            # A time before the first frame gets the first frame.
            shown = frame if shown is None else shown
            while index < len(times) and time_s > times[index] + 1e-6:
                yield video.picture(shown)
                index += 1
            shown = frame
        # `frames` yields at least one, or raises.
        assert shown is not None
        for _ in range(index, len(times)):
            yield video.picture(shown)


class MatteTrack:
    """Adds to each picture of a video the alpha channel of its time.

    Args:
        spans: The spans that the frames' probabilities stand for.
        probs_of: From a frame index to 255 times the probability that a pixel sounds.
    """

    def __init__(self, spans: Spans, probs_of: Callable[[int], np.ndarray]) -> None:
        self._spans, self._probs_of = spans, probs_of
        self._known: tuple[int | None, np.ndarray | None] = (None, None)

    def add_to(self, picture: np.ndarray, time_s: float) -> np.ndarray:
        """Return a picture `[H, W, 3]` shown at `time_s` as `[H, W, 4]`."""
        index = self._spans.at(time_s)
        if index != self._known[0]:
            self._known = index, None if index is None else self._probs_of(index)
        return with_alpha(picture, self._known[1])
