"""Images inside a page, as data URIs: masks and the spectrogram; the peaks of the waveform."""

import base64
import io

import numpy as np
from PIL import Image
from torch import Tensor

from coprop_plugin.audio.log_mel import SILENCE, log_mel
from coprop_plugin.media.overlay import class_colours, near_a_change

MAX_SIDE = 640
"""Pixels of the longer side of masks and video in a report."""
_FILL_ALPHA = 115
_MAX_COLUMNS = 1600
_NUM_PEAKS = 800
# Six colours of the magma colour map; those between them are interpolated.
_MAGMA = np.array(
    [(0, 0, 4), (59, 15, 112), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191)]
)


def shown_size(height: int, width: int) -> tuple[int, int]:
    """Return the size `(height, width)` in a report: same aspect ratio, at most 640 pixels.

    Example:
        >>> shown_size(1080, 1920), shown_size(48, 64)
        ((360, 640), (48, 64))
    """
    scale = min(1.0, MAX_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def mask_picture(mask: np.ndarray) -> str:
    """Return a mask `[H, W]` as a transparent PNG in a data URI: outlined, one colour per class.

    Colours are those of `write_overlay`. An empty mask gives an empty string.
    """
    if not mask.any():
        return ""
    height, width = shown_size(*mask.shape)
    mask = np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    line = near_a_change(mask, max(1, round(min(height, width) / 180))) & (mask > 0)
    classes, places = np.unique(mask, return_inverse=True)
    # Two palette entries per class: k for its inside, k + 128 for its outline.
    index = places.reshape(mask.shape).astype(np.uint8) % 128
    picture = Image.fromarray(index + 128 * line.astype(np.uint8))
    colours = np.zeros((256, 3), np.uint8)
    alphas = np.zeros(256, np.uint8)
    for place, class_id in enumerate(classes[:128].tolist()):
        colours[[place, place + 128]] = class_colours()[class_id]
        alphas[[place, place + 128]] = (0, 0) if class_id == 0 else (_FILL_ALPHA, 255)
    picture.putpalette(colours.tobytes())
    return png_uri(picture, alphas.tobytes())


def spectrogram_picture(waveform: Tensor, sample_rate: int) -> str:
    """Return the log-mel spectrogram as a PNG in a data URI, low frequencies at the bottom."""
    rows = log_mel(waveform, sample_rate).numpy()
    if not len(rows):
        return ""
    edges = np.linspace(0, len(rows), min(len(rows), _MAX_COLUMNS) + 1).astype(int)
    columns = np.maximum.reduceat(rows, edges[:-1], axis=0).T[::-1]
    loudest = max(columns.max(), SILENCE + 1)
    level = (columns - SILENCE) / (loudest - SILENCE)
    steps = np.linspace(0, 1, len(_MAGMA))
    colours = [np.interp(np.linspace(0, 1, 256), steps, _MAGMA[:, channel]) for channel in range(3)]
    picture = Image.fromarray((level.clip(0, 1) * 255).round().astype(np.uint8))
    picture.putpalette(np.stack(colours, 1).round().astype(np.uint8).tobytes())
    return png_uri(picture)


def peaks(waveform: Tensor) -> list[tuple[float, float]]:
    """Return the minimum and maximum of up to 800 equal parts of a waveform, scaled to peak 1."""
    samples = waveform.numpy()
    if not len(samples):
        return []
    edges = np.linspace(0, len(samples), min(len(samples), _NUM_PEAKS) + 1).astype(int)[:-1]
    scale = float(np.abs(samples).max()) or 1.0
    low, high = np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)
    return [
        (round(float(a) / scale, 3), round(float(b) / scale, 3))
        for a, b in zip(low, high, strict=True)
    ]


def png_uri(picture: Image.Image, transparency: bytes | None = None) -> str:
    """Return an image as a PNG in a `data:` URI.

    Args:
        picture: The image.
        transparency: With a palette, the alpha value of each of its colours.
    """
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True, transparency=transparency)
    return _data_uri("png", buffer)


def jpeg_uri(picture: Image.Image, quality: int = 70) -> str:
    """Return an image as a JPEG in a `data:` URI."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", optimize=True, quality=quality)
    return _data_uri("jpeg", buffer)


def _data_uri(image_format: str, buffer: io.BytesIO) -> str:
    return f"data:image/{image_format};base64,{base64.b64encode(buffer.getvalue()).decode()}"
