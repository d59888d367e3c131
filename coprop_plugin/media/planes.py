"""Pictures in 4:2:0, as most videos store them: painted and encoded without a detour over RGB."""

from functools import lru_cache
from typing import Any, Literal, cast

import av
import numpy as np

Matrix = Literal["ITU601", "ITU709"]
"""How brightness and colours are made of RGB: BT.601 or BT.709, by PyAV's names."""

TAGS: dict[Matrix, int] = {"ITU601": 6, "ITU709": 1}
"""FFmpeg's number of each matrix, primaries and transfer function."""

_SHARES: dict[Matrix, tuple[float, float]] = {"ITU601": (0.299, 0.114), "ITU709": (0.2126, 0.0722)}
_MATRICES: dict[int, Matrix] = {1: "ITU709", 5: "ITU601", 6: "ITU601"}
_UNSPECIFIED, _FULL_RANGE = 2, 2


def usual_matrix(height: int) -> Matrix:
    """Return what untagged colours are taken for: BT.709 from 720 lines on, BT.601 below."""
    return "ITU709" if height >= 720 else "ITU601"


def matrix_of(frame: av.VideoFrame) -> Matrix | None:
    """Return the matrix of a frame in 4:2:0 with 8 bits and even sides; None if it is none."""
    if frame.format.name != "yuv420p" or frame.color_range == _FULL_RANGE:
        return None
    if frame.width % 2 or frame.height % 2:
        return None
    if frame.colorspace == _UNSPECIFIED:
        return usual_matrix(frame.height)
    return _MATRICES.get(int(frame.colorspace))


class Planes:
    """A picture in 4:2:0: brightness at full size, two colours at half the size, 16 to 240.

    Args:
        height: In pixels, even.
        width: In pixels, even.
        matrix: Of its colours.

    Attributes:
        frame: To encode.
        arrays: Writable views of its planes: `[H, W]` and twice `[H / 2, W / 2]`, uint8.
    """

    def __init__(self, height: int, width: int, matrix: Matrix) -> None:
        self.size, self.matrix = (height, width), matrix
        self.frame = av.VideoFrame(width, height, "yuv420p")
        self.arrays = arrays_of(self.frame)


def arrays_of(frame: av.VideoFrame) -> tuple[np.ndarray, ...]:
    """Return views of the planes of a frame with 8 bits: `[h, w]` uint8 each."""
    views = []
    for plane in frame.planes:
        rows = np.frombuffer(cast(Any, plane), np.uint8).reshape(-1, plane.line_size)
        views.append(rows[: plane.height, : plane.width])
    return tuple(views)


@lru_cache(maxsize=4)
def in_matrix(colours: bytes, matrix: Matrix) -> np.ndarray:
    """Return RGB colours as brightness and two colours.

    Args:
        colours: Of an array `[N, 3]` uint8.
        matrix: Of the result.

    Returns:
        `[3, N]` uint16, in 16..240.
    """
    rgb = np.frombuffer(colours, np.uint8).reshape(-1, 3) / 255.0
    red, blue = _SHARES[matrix]
    light = rgb @ (red, 1 - red - blue, blue)
    towards_blue = (rgb[:, 2] - light) / (2 * (1 - blue))
    towards_red = (rgb[:, 0] - light) / (2 * (1 - red))
    planes = [16 + 219 * light, 128 + 224 * towards_blue, 128 + 224 * towards_red]
    return np.rint(planes).astype(np.uint16)
