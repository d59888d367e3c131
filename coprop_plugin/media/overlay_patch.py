"""A part of a picture to be tinted: colours and weights, computed before the picture is known."""

from functools import cached_property

import numpy as np

from coprop_plugin.media.planes import Matrix, Planes, in_matrix

Box = tuple[slice, slice]
"""Rows and columns."""


class Patch:
    """A part of pictures, and what is painted there.

    Args:
        box: Where it is. It begins at an even pixel and ends at one, unless the picture ends
            before, for colours at half the size.
        index: `[h, w]` uint8, the number of the colour of each pixel.
        weight: `[h, w]` uint16, how much of the colour is taken, in 256ths: 16 bits hold 255 * 256,
            and floats would take five times as long.
        palette: `[256, 3]` uint8; the first colour is taken for black.
    """

    def __init__(
        self, box: Box, index: np.ndarray, weight: np.ndarray, palette: np.ndarray
    ) -> None:
        self._box, self._index, self._weight = box, index, weight
        self._palette = palette.copy()
        self._palette[0] = 0
        self._planes: dict[Matrix, list[tuple[np.ndarray, np.ndarray]]] = {}

    def paint(self, picture: np.ndarray) -> None:
        """Paint into a picture `[H, W, 3]` uint8."""
        _mix(picture[self._box], *self._rgb)

    def paint_planes(self, picture: Planes) -> None:
        """Paint into a picture in 4:2:0."""
        if picture.matrix not in self._planes:
            self._planes[picture.matrix] = self._mixed_with(picture.matrix)
        half = tuple(slice(side.start // 2, side.stop // 2) for side in self._box)
        boxes = (self._box, half, half)
        for array, box, mixed in zip(
            picture.arrays, boxes, self._planes[picture.matrix], strict=True
        ):
            _mix(array[box], *mixed)

    @cached_property
    def _rgb(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights of a picture, and what to add to it, in RGB."""
        # As long rows of numbers, which numpy computes ten times as fast as many short ones.
        weight = np.repeat(self._weight[..., None], 3, axis=2)
        return 256 - weight, self._palette[self._index] * weight

    def _mixed_with(self, matrix: Matrix) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the same for each plane: brightness, and the colours of two by two pixels."""
        colours = in_matrix(self._palette.tobytes(), matrix)
        added = [plane[self._index] * self._weight for plane in colours]
        weight = 256 - _quarter(self._weight)
        return [
            (256 - self._weight, added[0]),
            *((weight, _quarter(plane)) for plane in added[1:]),
        ]


def _mix(picture: np.ndarray, keep: np.ndarray, added: np.ndarray) -> None:
    """Weigh pixels by 256ths and add colours, in place."""
    mixed = np.multiply(picture, keep, dtype=np.uint16)
    mixed += added
    mixed >>= 8
    picture[:] = mixed


def _quarter(plane: np.ndarray) -> np.ndarray:
    """Return the mean of two by two pixels of `[H, W]` uint16, both sides even."""
    rows = plane[::2].astype(np.uint32) + plane[1::2]
    return ((rows[:, ::2] + rows[:, 1::2]) >> 2).astype(np.uint16)
