"""Overlay videos: masks painted into the video they belong to, with its audio."""

import colorsys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from torch import Tensor

from coprop_plugin.errors import MediaError
from coprop_plugin.media.encode import VideoWriter, audio_of, picture_of, shown_times
from coprop_plugin.media.masks import mask_box
from coprop_plugin.media.overlay_legend import legend
from coprop_plugin.media.overlay_patch import Patch
from coprop_plugin.media.planes import Planes
from coprop_plugin.media.rewrite import Spans, rewrite_video
from coprop_plugin.media.video_formats import OVERLAY
from coprop_plugin.types import DEFAULT_TRACKS, Clip, Tracks

TINT = 0.45

MaskOf = Callable[[int], np.ndarray]
NamesOf = Callable[[], Sequence[str] | None]


def write_overlay(
    path: str | Path,
    mask_of: MaskOf,
    spans: Tensor | Spans,
    *,
    source: str | Path | None = None,
    clip: Clip | None = None,
    tracks: Tracks = DEFAULT_TRACKS,
    class_names: NamesOf = lambda: None,
) -> Path:
    """Write a video with masks painted in: H.264 in mp4, with audio.

    With a `source`, the video has all its pictures, not only those with a mask of their own: each
    shows the mask of the span that contains it. Time stamps, size and audio are the source's (an
    odd size grows by one pixel, a rotation tag is applied); audio packets are copied if mp4 can
    hold them, and encoded as AAC otherwise. Without a `source` it shows the frames of `clip`.

    Args:
        path: Where to write; an existing file is replaced when the new one is complete.
        mask_of: From a frame index to its mask `[H, W]`, class ids, 0 the background. Called in
            rising order, so masks can be read from disk.
        spans: `[T, 2]`, start and end in seconds of what each mask stands for (`Clip.spans`),
            or their look-up.
        source: The video file.
        clip: Frames and waveform in memory; used if there is no `source`.
        tracks: Which tracks of the source to use.
        class_names: Returns the names of the classes, the background's first, for a legend of
            those that are shown; None for no legend. Called after `mask_of`.

    Returns:
        The path.

    Raises:
        MediaError: If the source cannot be read, or the file cannot be written.

    Example:
        >>> write_overlay("overlay.mp4", lambda t: masks[t], clip.spans, clip=clip)
        ... # doctest: +SKIP
    """
    path = Path(path)
    if source is not None:
        track = _LayerTrack(mask_of, spans, class_names)
        rewrite_video(path, source, track.paint, OVERLAY, tracks, track.paint_planes)
    elif clip is not None:
        _overlay_on_clip(path, mask_of, clip, class_names)
    else:
        raise MediaError(
            "Expected a source or a clip to paint the masks into, got neither. Pass a video file "
            "as `source=`, or the clip that was segmented as `clip=`."
        )
    return path


def _overlay_on_clip(path: Path, mask_of: MaskOf, clip: Clip, class_names: NamesOf) -> None:
    with VideoWriter(path, OVERLAY, audio=audio_of(clip)) as writer:
        for index, (start_s, length_s) in enumerate(shown_times(clip)):
            mask = mask_of(index)
            painted = paint(picture_of(clip.frames[index]), mask, class_names())
            writer.add(painted, start_s, length_s)


class _LayerTrack:
    """The layer of every time, computed once for all pictures of a span."""

    def __init__(self, mask_of: MaskOf, spans: Tensor | Spans, class_names: NamesOf) -> None:
        self._spans = spans if isinstance(spans, Spans) else Spans(spans)
        self._mask_of, self._class_names = mask_of, class_names
        self._index: int | None = None
        self._mask: np.ndarray | None = None

    def paint(self, picture: np.ndarray, time_s: float) -> np.ndarray:
        layer = self._layer_at(time_s, (picture.shape[0], picture.shape[1]))
        return picture if layer is None else layer.on(picture)

    def paint_planes(self, picture: Planes, time_s: float) -> None:
        layer = self._layer_at(time_s, picture.size)
        if layer is not None:
            layer.onto(picture)

    def _layer_at(self, time_s: float, size: tuple[int, int]) -> "_Layer | None":
        index = self._spans.at(time_s)
        if index is None:
            return None
        if index != self._index:
            self._index, mask = index, self._mask_of(index)
            # Consecutive frames often have the same mask.
            if self._mask is None or not np.array_equal(self._mask, mask):
                self._mask, self._layer = mask, _Layer(mask, size, self._class_names())
        return self._layer


def paint(
    picture: np.ndarray, mask: np.ndarray, class_names: Sequence[str] | None = None
) -> np.ndarray:
    """Tint what sounds, one colour per class, and draw its outline.

    Args:
        picture: `[H, W, 3]` uint8.
        mask: `[h, w]` class ids, 0 is left unpainted; resized to the picture's size if needed.
        class_names: The names of the classes, the background's first, for a legend of those that
            are shown; None for none. Pictures below 120 pixels have none.

    Returns:
        A picture of the same size; the given one is not changed.
    """
    return _Layer(mask, (picture.shape[0], picture.shape[1]), class_names).on(picture)


class _Layer:
    """What is painted into pictures: a mask and its legend.

    Args:
        mask: As for `paint`.
        size: Of the pictures.
        class_names: As for `paint`.
    """

    def __init__(
        self, mask: np.ndarray, size: tuple[int, int], class_names: Sequence[str] | None
    ) -> None:
        mask = _resized(np.asarray(mask).astype(np.uint8, copy=False), size)
        self._patches: list[Patch] = []
        if not mask.any():
            return
        self._patches.append(_tinted(mask))
        if class_names is not None:
            shown = np.flatnonzero(np.bincount(mask.ravel(), minlength=2)).tolist()
            colours, known = class_colours(), len(class_names)
            named = [(class_names[k], tuple(colours[k].tolist())) for k in shown if 0 < k < known]
            self._patches += filter(None, [legend(named, size)])

    def on(self, picture: np.ndarray) -> np.ndarray:
        """Return a picture `[H, W, 3]` with the mask painted in."""
        if not self._patches:
            return picture
        painted = picture.copy()
        for patch in self._patches:
            patch.paint(painted)
        return painted

    def onto(self, picture: Planes) -> None:
        """Paint the mask into a picture."""
        for patch in self._patches:
            patch.paint_planes(picture)


def _tinted(mask: np.ndarray) -> Patch:
    """Return the colours of a mask that is not empty."""
    width = _outline_width(mask.shape)
    left, top, right, bottom = mask_box(mask)
    # Only the box around the mask is computed: most masks are small.
    box = (
        slice(max(0, top - width - 1) // 2 * 2, -(-(bottom + width + 1) // 2) * 2),
        slice(max(0, left - width - 1) // 2 * 2, -(-(right + width + 1) // 2) * 2),
    )
    mask = mask[box]
    inside = mask > 0
    line = inside & near_a_change(mask, width)
    # A dark rim keeps a bright outline visible on a bright ground.
    rim = ~inside & near_a_change(mask, 1)
    weight = np.zeros(mask.shape, np.uint16)
    weight[rim] = 128
    weight[inside], weight[line] = round(256 * TINT), 256
    return Patch(box, mask, weight, class_colours())


def _outline_width(shape: tuple[int, ...]) -> int:
    return max(1, round(min(shape) / 240))


def near_a_change(mask: np.ndarray, width: int) -> np.ndarray:
    """Mark pixels within `width` steps of one of another class."""
    near = np.zeros(mask.shape, bool)
    near[1:] |= mask[1:] != mask[:-1]
    near[:-1] |= mask[1:] != mask[:-1]
    near[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    near[:, :-1] |= mask[:, 1:] != mask[:, :-1]
    for _ in range(width - 1):
        wider = near.copy()
        wider[1:] |= near[:-1]
        wider[:-1] |= near[1:]
        wider[:, 1:] |= near[:, :-1]
        wider[:, :-1] |= near[:, 1:]
        near = wider
    return near


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if mask.shape == size:
        return mask
    rows = ((np.arange(size[0]) + 0.5) * mask.shape[0] / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * mask.shape[1] / size[1]).astype(int)
    return mask[rows[:, None], columns]


@lru_cache(maxsize=1)
def class_colours() -> np.ndarray:
    """Return bright colours `[256, 3]` uint8; consecutive classes differ most in hue.

    Hues almost repeat after 13, 21 or 34 classes, so saturation and brightness change, too.
    """
    golden = 0.618034
    levels = ((0.8, 1.0), (0.45, 1.0), (0.95, 0.7), (0.45, 0.72), (0.65, 0.86), (0.3, 0.9))
    rgb = [
        colorsys.hsv_to_rgb((0.03 + golden * (k - 1)) % 1, *levels[k // 13 % len(levels)])
        for k in range(256)
    ]
    return (np.array(rgb) * 255).astype(np.uint8)
