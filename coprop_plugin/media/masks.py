"""Masks as 8-bit images, one per frame, whose pixel values are class ids."""

import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from coprop_plugin.errors import CopropError, MediaError
from coprop_plugin.limits import PIXELS
from coprop_plugin.media.container import MediaWarning
from coprop_plugin.media.folders import writing


def picture_name(index: int) -> str:
    """Return the file name of frame `index`: `00012.png`."""
    return f"{index:05d}.png"


@contextmanager
def open_image(path: str | Path, error: type[CopropError] = MediaError) -> Iterator[Image.Image]:
    """Open an image whose number of pixels is within `limits.PIXELS`; none are decoded yet.

    Args:
        path: The image.
        error: The class of the error to raise if it is too large.

    Raises:
        CopropError: An `error`, if it is too large.
        OSError: If it is not an image.
    """
    with Image.open(path) as image:
        PIXELS.check(image.width * image.height, path, error)
        yield image


def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask that `ResultWriter` wrote: class ids `[H, W]` uint8."""
    with open_image(path) as image:
        return np.array(image)


def read_picture(folder: Path, index: int) -> np.ndarray:
    """Read frame `index` of a folder of masks or probabilities: `[H, W]` uint8.

    Raises:
        MediaError: If it is missing or cannot be read.
    """
    path = folder / picture_name(index)
    try:
        return read_mask(path)
    except OSError as error:
        raise MediaError(
            f"{path} cannot be read ({error.strerror or error}). Run that input again with --redo, "
            "or, if it was edited, with --reuse."
        ) from error


def mask_png(mask: np.ndarray) -> bytes:
    """Encode class ids `[H, W]` uint8 as a PNG with AVSBench's colours as its palette."""
    image = Image.fromarray(mask)
    image.putpalette(avsbench_palette().tobytes())
    return _png(image)


def probs_png(probs: np.ndarray) -> bytes:
    """Encode 255 times probabilities, `[H, W]` uint8, as a grey PNG."""
    return _png(Image.fromarray(probs), compress_level=3)


def _png(image: Image.Image, **options: int) -> bytes:
    file = BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def write_masks(masks: np.ndarray, folder: Path) -> None:
    """Write masks `[T, H, W]` of class ids as `folder/%05d.png`.

    Raises:
        MediaError: If they cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for t, mask in enumerate(masks):
            (folder / picture_name(t)).write_bytes(mask_png(mask.astype(np.uint8)))


def mask_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return the box around all pixels of a mask `[H, W]` that are not 0; there must be one.

    Returns:
        Left, top, right and bottom; right and bottom are exclusive.

    Example:
        >>> mask_box(np.array([[0, 0, 0], [0, 1, 1]]))
        (1, 1, 3, 2)
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def mask_digest(mask: np.ndarray) -> str:
    """Return eight hexadecimal digits that change if a class id of a mask is edited."""
    return f"{zlib.crc32(np.ascontiguousarray(mask, np.uint8).tobytes()):08x}"


def read_painted_mask(path: str | Path, size: tuple[int, int], num_classes: int) -> np.ndarray:
    """Read a mask that may have been edited by hand and saved in any image format.

    With one class, every pixel that is neither black nor transparent sounds. With more, grey
    values are class ids, and colours are those of `avsbench_palette`; with 1, 8 or 16 bits, with
    or without alpha, in colour, or indexed with any palette.

    Args:
        path: An image.
        size: Height and width that it must have.
        num_classes: C of the wrapped model: 1 for binary models.

    Returns:
        Class ids `[H, W]` uint8, 0 where nothing sounds.

    Raises:
        MediaError: If it is not an image, has another size, or a colour that stands for no class.

    Warns:
        MediaWarning: If, with one class, it seems to have smooth edges.
    """
    try:
        with open_image(path) as image:
            image.load()
    except MediaError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MediaError(
            f"{path} cannot be read as an image ({error}). Save it as PNG, or delete it to have "
            "that mask predicted again."
        ) from error
    if (image.height, image.width) != tuple(size):
        raise MediaError(
            f"Expected a mask of {size[1]} x {size[0]} pixels like the frames of its run, got "
            f"{image.width} x {image.height} in {path}. Save it at that size."
        )
    mask = _class_ids(image, num_classes, path)
    if num_classes > 1 and mask.max() >= num_classes:
        raise MediaError(
            f"Expected classes 0 to {num_classes - 1}, got pixels of class {mask.max()} in {path}. "
            "Paint with the values or colours of the other masks."
        )
    return mask


def _class_ids(image: Image.Image, num_classes: int, path: str | Path) -> np.ndarray:
    ours = image.mode == "P" and _has_our_palette(image)
    if ours or image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16"):
        return _grey_values(image, num_classes, path)
    rgba = np.array(image.convert("RGBA"))
    rgb = rgba[..., :3] * (rgba[..., 3:] > 0)
    if num_classes == 1:
        return _not_black(rgb.max(-1), path)
    colours, places = np.unique(rgb.reshape(-1, 3), axis=0, return_inverse=True)
    known = {tuple(colour): k for k, colour in enumerate(avsbench_palette().tolist())}
    if np.all(colours == colours[:, :1]) and colours.max() < num_classes:
        # Class ids as grey, which a program saved in colour.
        known = {(k, k, k): k for k in range(num_classes)}
    ids = [known.get(tuple(colour)) for colour in colours.tolist()]
    if None in ids:
        raise MediaError(
            f"{path} has pixels of the colour {tuple(colours[ids.index(None)].tolist())}, which "
            "stands for no class. Paint with the colours of the other masks, and without smooth "
            "edges (antialiasing)."
        )
    return np.array(ids, np.uint8)[places.reshape(-1)].reshape(rgb.shape[:2])


def _not_black(values: np.ndarray, path: str | Path) -> np.ndarray:
    """Return where brightness `[H, W]` is above 0, as 0 or 1; warn of smooth edges."""
    smooth = int(np.count_nonzero((values > 0) & (values < values.max() / 2)))
    if smooth:
        warnings.warn(
            f"{path} has {smooth:,} pixels that are neither black nor half as bright as its "
            "brightest; they count as sounding. If they come from smooth edges (antialiasing) or "
            "from JPEG, paint without, and save as PNG.",
            MediaWarning,
            stacklevel=2,
        )
    return (values > 0).astype(np.uint8)


def _grey_values(image: Image.Image, num_classes: int, path: str | Path) -> np.ndarray:
    """Return class ids `[H, W]` uint8 of an image without colours; 16 bits are scaled to 8.

    Raises:
        MediaError: If they do not fit into 8 bits.
    """
    bands = [np.array(band).astype(np.float64) for band in image.split()]
    values = bands[0] * (bands[-1] > 0)
    if num_classes == 1:
        return _not_black(values, path)
    for full in (257, 256):
        # Programs that work in 16 bits store 255 as 65535, or as 65280.
        if values.max() > 255 and not np.any(values % full):
            values = values / full
    if values.min() < 0 or values.max() > 255 or np.any(values % 1):
        raise MediaError(
            f"Expected class ids as grey values, got values from {values.min():g} to "
            f"{values.max():g} in {path}. Save it with 8 bits, without smooth edges."
        )
    return values.astype(np.uint8)


def _has_our_palette(image: Image.Image) -> bool:
    palette = image.getpalette() or []
    return palette == avsbench_palette().reshape(-1).tolist()[: len(palette)]


@lru_cache(maxsize=1)
def avsbench_palette() -> np.ndarray:
    """Return AVSBench's colours `[256, 3]` uint8, the Pascal VOC colour map.

    Example:
        >>> avsbench_palette()[[1, 2, 4, 8, 70]].tolist()
        [[128, 0, 0], [0, 128, 0], [0, 0, 128], [64, 0, 0], [32, 128, 128]]
    """
    classes = np.arange(256)
    palette = np.zeros((256, 3), int)
    for group in range(3):
        for channel in range(3):
            palette[:, channel] |= (classes >> (3 * group + channel) & 1) << (7 - group)
    return palette.astype(np.uint8)
