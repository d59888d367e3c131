"""Reading frames and masks of a data set as tensors of one size."""

import glob
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from coprop_plugin.errors import DatasetError, DatasetWarning
from coprop_plugin.limits import PIXELS
from coprop_plugin.media import ROWS_IN_MEMORY, stacked_rows
from coprop_plugin.media.masks import avsbench_palette

Resize = Literal["squash", "crop"]
"""How images become square, see `fitted`."""

UnknownColours = Literal["error", "warn"]
"""What to do with colours of no class, see `colour_labels`."""

_UNKNOWN = 255

# PIL raises SyntaxError for PNG files with a broken chunk.
_DAMAGE = (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError)


def read_frames(
    paths: Sequence[Path],
    size: int | None,
    resize: Resize,
    in_memory: int = ROWS_IN_MEMORY,
) -> Tensor:
    """Read images as `[T, 3, H, W]` uint8 RGB, resized by `fitted`; see `stacked_rows`.

    Raises:
        DatasetError: If one is missing or damaged, or they differ in size.
    """
    frames = (np.array(fitted(_rgb(_opened(path), path), size, resize)) for path in paths)
    return _stacked(frames, paths, in_memory).permute(0, 3, 1, 2)


def read_masks(
    paths: Sequence[Path], decode: Callable[[Path], np.ndarray], size: int | None, resize: Resize
) -> Tensor:
    """Read masks as `[T, H, W]` int64, resized by `fitted` with the nearest value.

    Raises:
        DatasetError: If one is missing or damaged, or they differ in size.
    """
    masks = (fitted(Image.fromarray(decode(path)), size, resize, is_mask=True) for path in paths)
    return _stacked(map(np.array, masks), paths).long()


def binary_mask(path: Path) -> np.ndarray:
    """Read a mask as 0 and 1, `[H, W]` uint8: foreground is where the image is not black.

    AVSBench reads S4 as 1-bit images and MS3 as 0/255, so that a mask of 0 and 1 is empty there;
    here both 1 and 255 are foreground.

    Raises:
        DatasetError: If the file is missing or damaged.
    """
    picture = _opened(path)
    if picture.mode in ("P", "RGBA", "PA", "CMYK", "YCbCr"):
        picture = picture.convert("RGB")
    values = np.array(picture)
    if picture.mode == "LA":
        values = values[..., 0]
    return (values != 0).reshape(*values.shape[:2], -1).any(-1).astype(np.uint8)


def colour_labels(
    path: Path, num_classes: int = 71, unknown: UnknownColours = "error"
) -> np.ndarray:
    """Read an image in AVSBench's palette as class numbers, `[H, W]` uint8.

    Args:
        path: The image, `labels_rgb/*.png` of AVSS.
        num_classes: C with the background; colours of later classes are unknown.
        unknown: `"error"` raises for colours outside the palette; `"warn"` counts them as
            background, as AVSBench does silently.

    Raises:
        DatasetError: If the file is missing or damaged, or has an unknown colour.

    Warns:
        DatasetWarning: If unknown colours were counted as background.
    """
    picture = _opened(path).convert("RGB")
    labels = _class_of_colour(num_classes)[_packed(picture)]
    is_unknown = labels == _UNKNOWN
    if is_unknown.any():
        example = tuple(int(v) for v in np.array(picture)[is_unknown][0])
        message = (
            f"{path} has {int(is_unknown.sum())} pixels of a colour outside the palette, e.g. "
            f"{example}. Resizing filters that mix colours cause this: save labels at their own "
            "size, or resize them with the nearest colour."
        )
        if unknown == "error":
            raise DatasetError(
                f"{message} To count them as background, use unknown_colours='warn'."
            )
        warnings.warn(f"{message} They count as background.", DatasetWarning, stacklevel=2)
        labels[is_unknown] = 0
    return labels


def index_labels(path: Path, num_classes: int = 71) -> np.ndarray:
    """Read an image whose values are class numbers, `labels_semantic/*.png` of AVSS.

    Raises:
        DatasetError: If the file is missing or damaged, or a value is not a class.
    """
    labels = np.array(_opened(path))
    if labels.ndim != 2 or labels.max(initial=0) >= num_classes:
        raise DatasetError(
            f"Expected one class number a pixel, below {num_classes}, in {path}, got shape "
            f"{list(labels.shape)} and values up to {labels.max(initial=0)}. For coloured labels "
            "use labels='rgb'."
        )
    return labels.astype(np.uint8)


def fitted(
    picture: Image.Image, size: int | None, resize: Resize, is_mask: bool = False
) -> Image.Image:
    """Resize an image to a square, as upstream: frames bilinear, masks nearest.

    Args:
        picture: Frame or mask.
        size: Side in pixels: 224 for AVSBench, 512 for AVSegFormer on S4 and MS3; None keeps the
            image's size and shape.
        resize: `"squash"` ignores the aspect ratio, as all validation and test loaders do;
            `"crop"` scales the short side to `size` and crops the middle, as AVSS in training.
        is_mask: Use the nearest value instead of a mean.
    """
    if size is None:
        return picture
    filter_ = Image.Resampling.NEAREST if is_mask else Image.Resampling.BILINEAR
    if resize == "squash":
        return picture if picture.size == (size, size) else picture.resize((size, size), filter_)
    width, height = picture.size
    short = min(width, height)
    picture = picture.resize((width * size // short, height * size // short), filter_)
    left, top = round((picture.width - size) / 2), round((picture.height - size) / 2)
    return picture.crop((left, top, left + size, top + size))


def _rgb(picture: Image.Image, path: Path) -> Image.Image:
    """Return a picture as 8-bit RGB; PIL cuts grey of 16 bits off at 255, which makes it white."""
    if picture.mode == "F":
        raise DatasetError(
            f"{path} holds floats. Expected a picture of 8 or 16 bits: save it as such."
        )
    if picture.mode.startswith("I"):
        # Rounded to the nearest of 256 steps.
        grey = (np.array(picture).astype(np.int64).clip(0, 65535) + 128) // 257
        picture = Image.fromarray(grey.astype(np.uint8))
    return picture.convert("RGB")


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            PIXELS.check(picture.width * picture.height, path, DatasetError)
            picture.load()
            return picture
    except DatasetError:
        raise
    except FileNotFoundError as error:
        others = sorted(other.name for other in path.parent.glob(f"{glob.escape(path.stem)}.*"))
        if others:
            raise DatasetError(
                f"There is no {path}, but {' and '.join(others[:2])}. Expected {path.suffix} "
                "files, as the data set was distributed: convert them, without loss if masks."
            ) from error
        raise DatasetError(
            f"There is no {path}, though the table lists its clip. Complete the data folder, or "
            "remove the clip from the table."
        ) from error
    except _DAMAGE as error:
        raise DatasetError(
            f"{path} cannot be read as an image ({str(error)[:120]}). Download it again."
        ) from error


def _stacked(
    arrays: Iterable[np.ndarray], paths: Sequence[Path], in_memory: int = ROWS_IN_MEMORY
) -> Tensor:
    return stacked_rows(_of_one_size(arrays, paths), len(paths), in_memory)


def _of_one_size(arrays: Iterable[np.ndarray], paths: Sequence[Path]) -> Iterator[np.ndarray]:
    first: tuple[int, ...] = ()
    for array, path in zip(arrays, paths, strict=True):
        first = first or array.shape
        if array.shape != first:
            raise DatasetError(
                f"{path} is {array.shape[1]}x{array.shape[0]} pixels, {paths[0].name} is "
                f"{first[1]}x{first[0]}. Give the data set a `size`."
            )
        yield array


@lru_cache(maxsize=2)
def _class_of_colour(num_classes: int) -> np.ndarray:
    """Return the class of each of 2^24 colours, 255 for none, `[2^24]` uint8."""
    table = np.full(2**24, _UNKNOWN, np.uint8)
    palette = Image.fromarray(avsbench_palette()[None, :num_classes])
    table[_packed(palette)[0]] = np.arange(num_classes)
    return table


def _packed(picture: Image.Image) -> np.ndarray:
    """Return the colours of an RGB picture as one number below 2^24 each, `[H, W]` uint32."""
    # PIL keeps four bytes a pixel itself, so this is a copy; the fourth one means nothing.
    pixels = np.frombuffer(picture.tobytes("raw", "RGBX"), "<u4")
    return (pixels & 0xFFFFFF).reshape(picture.height, picture.width)
