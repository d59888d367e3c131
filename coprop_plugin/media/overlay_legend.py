"""The legend of an overlay: a swatch and the name of each class that is shown."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from coprop_plugin.media.overlay_patch import Patch

Entry = tuple[str, tuple[int, ...]]
"""A name and its colour."""

_LETTERS = 24
"""How many letters are as high as the shorter side of the picture."""

_LEAST_PX, _LEAST_SIDE = 11, 120
"""Letters are not smaller than that, and smaller pictures have no legend."""

_LONGEST, _PLATE = 30, 150
_GREYS = 64
"""Shades of the letters; the other colours are those of swatches."""

_MOST = 255 - _GREYS


def legend(entries: Sequence[Entry], size: tuple[int, int]) -> Patch | None:
    """Return the legend in the lower left corner of a picture; None where it has no place.

    Args:
        entries: Names and colours, from top to bottom; those that do not fit are left out.
        size: Height and width of the picture.

    Example:
        >>> picture = np.zeros((240, 320, 3), np.uint8)
        >>> legend([("dog", (255, 0, 0))], (240, 320)).paint(picture)
        >>> picture[:200].max(), picture[200:].max()
        (np.uint8(0), np.uint8(255))
    """
    if not entries or min(size) < _LEAST_SIDE:
        return None
    letter = max(_LEAST_PX, round(min(size) / _LETTERS))
    gap = letter // 2
    # Even, for colours at half the size.
    left, bottom = gap + gap % 2, (size[0] - gap) // 2 * 2
    room = min(_MOST, (bottom - 2 * gap) // (letter + gap))
    index, weight, palette = _drawn(tuple(entries[:room]), letter)
    width = (size[1] - 2 * left) // 2 * 2
    index, weight = index[:, :width], weight[:, :width]
    box = slice(bottom - len(index), bottom), slice(left, left + index.shape[1])
    return Patch(box, index, weight, palette)


@lru_cache(maxsize=64)
def _drawn(entries: tuple[Entry, ...], letter: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw entries on a dark plate; returns index, weight and palette of a `Patch`."""
    font, gap = ImageFont.load_default(letter), letter // 2
    names = [n if len(n) <= _LONGEST else n[: _LONGEST - 1] + "…" for n, _ in entries]
    width = 3 * gap + letter + round(max(font.getlength(name) for name in names))
    size = width + width % 2, (gap + len(entries) * (letter + gap) + 1) // 2 * 2
    text, swatches = Image.new("L", size), Image.new("L", size)
    write, fill = ImageDraw.Draw(text), ImageDraw.Draw(swatches)
    for row, name in enumerate(names):
        top = gap + row * (letter + gap)
        fill.rectangle((gap, top, gap + letter - 1, top + letter - 1), fill=row + 1)
        write.text((2 * gap + letter, top + letter / 2), name, fill=255, font=font, anchor="lm")
    ink = np.asarray(text).astype(np.float32) / 255
    index = np.asarray(swatches).copy()
    weight = np.where(index > 0, 1.0, _PLATE / 256 * (1 - ink) + ink)
    # Letters are white on black, in shades: the more ink, the brighter and the more opaque.
    shade = np.rint(ink / np.maximum(weight, 1e-6) * (_GREYS - 1)).astype(np.uint8)
    index[(index == 0) & (shade > 0)] = _MOST + 1 + shade[(index == 0) & (shade > 0)]
    palette = np.zeros((256, 3), np.uint8)
    palette[1 : len(entries) + 1] = [colour for _, colour in entries]
    palette[_MOST + 1 :] = np.linspace(0, 255, _GREYS)[:, None]
    return index, np.rint(weight * 256).astype(np.uint16), palette
