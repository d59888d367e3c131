"""Folders of cut-outs, backgrounds and sounds from which photographic scenes are composed.

    ASSETS/cutouts/KIND/NAME.png       RGBA, transparent outside the object
    ASSETS/cutouts/KIND/NAME.ogg       optional: the sound of this object
    ASSETS/sounds/KIND/ANYTHING.ogg    sounds of the kind, for cut-outs without their own
    ASSETS/backgrounds/ANYTHING.jpg    photographs

Folders `train`, `val` and `test` with this layout inside are the splits; without them, items are
split by their names.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from coprop_plugin.audio.resample import resample
from coprop_plugin.errors import DatasetError
from coprop_plugin.world.scene import SAMPLE_RATE
from coprop_plugin.world.splits import SPLITS, Split

_PHOTOS = (".png", ".jpg", ".jpeg", ".webp")
_CUT_OUTS = (".png", ".webp")
_SOUNDS = (".ogg", ".wav", ".flac", ".mp3")
_LONGEST_SIDE = 384
_BACKGROUND_SIDE = 640
_LONGEST_SOUND_S = 12.0
_BLOCK_S = 0.02
_SHARES: tuple[Split, ...] = ("train",) * 7 + ("val",) + ("test",) * 2


@dataclass(frozen=True)
class CutOut:
    """A photograph of one object, with exact transparency.

    Args:
        path: An RGBA picture.
        kind: The name of its folder, e.g. "dog".
        sounds: Sound files of this very object; may be empty.
    """

    path: Path
    kind: str
    sounds: tuple[Path, ...] = ()

    def pixels(self) -> np.ndarray:
        """Return the picture `[H, W, 4]` uint8, premultiplied, longer side <= 384."""
        return read_cut_out(self.path)


@dataclass(frozen=True, eq=False)
class Assets:
    """The files of one split of an asset folder. Compared by identity, so it can be a cache key.

    Args:
        kinds: Sorted names of the kinds of all splits; the first has class index 1.
        cut_outs: The cut-outs of this split.
        backgrounds: Its photographs.
        sounds: Sound files of each kind, including those of single cut-outs.

    Example:
        >>> from coprop_plugin.world import Assets
        >>> assets = Assets.from_folder("assets", "val")  # doctest: +SKIP
        >>> assets.kinds[:3]  # doctest: +SKIP
        ('animal', 'bird', 'cat')
    """

    kinds: tuple[str, ...]
    cut_outs: tuple[CutOut, ...]
    backgrounds: tuple[Path, ...]
    sounds: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)

    @classmethod
    def from_folder(cls, folder: str | Path, split: Split = "train") -> "Assets":
        """List the files of a split; nothing is decoded.

        Args:
            folder: A folder with the layout described in this module.
            split: "train", "val" or "test".

        Raises:
            DatasetError: If the split does not exist, or has no cut-outs or no backgrounds.
        """
        from coprop_plugin.media import refuse_missing

        folder = Path(folder)
        if split not in SPLITS:
            raise DatasetError(f"Expected split to be one of {', '.join(SPLITS)}, got {split!r}.")
        refuse_missing(folder, "folder", DatasetError)
        has_splits = (folder / "train" / "cutouts").is_dir()
        root = folder / split if has_splits else folder
        roots = [folder / name for name in SPLITS] if has_splits else [folder]
        wanted = None if has_splits else split
        cut_outs = tuple(_cut_outs(root, wanted))
        backgrounds = tuple(_files(root / "backgrounds", _PHOTOS, wanted))
        if not cut_outs or not backgrounds:
            raise DatasetError(
                f"Expected cut-outs and backgrounds of the split {split!r} in {folder}, got "
                f"{len(cut_outs)} and {len(backgrounds)}. Put RGBA pictures into "
                "cutouts/KIND/NAME.png and photographs into backgrounds/, at least ten of each."
            )
        kinds = tuple(sorted({k.name for r in roots for k in _folders(r / "cutouts")}))
        sounds = {k: tuple(_files(root / "sounds" / k, _SOUNDS, wanted)) for k in kinds}
        for cut_out in cut_outs:
            sounds[cut_out.kind] += cut_out.sounds
        return cls(kinds, cut_outs, backgrounds, sounds)

    def class_id(self, cut_out: CutOut) -> int:
        """Return the class index of a cut-out, 0 being the silent background."""
        return self.kinds.index(cut_out.kind) + 1

    def sounds_of(self, cut_out: CutOut) -> tuple[Path, ...]:
        """Return the cut-out's own sounds, or those of its kind if it has none."""
        return cut_out.sounds or self.sounds.get(cut_out.kind, ())


def split_of(name: str) -> Split:
    """Return the split of an item by its name: 70 % train, 10 % val, 20 % test.

    Names that are equal up to the first digit, hyphen or underscore share a split, as they often
    show the same object.

    Example:
        >>> split_of("sheep") == split_of("sheep_lamb-2")
        True
    """
    group = re.split(r"[-_\d]", name.lower())[0] or name.lower()
    return _SHARES[zlib.crc32(group.encode()) % len(_SHARES)]


@lru_cache(maxsize=512)
def read_cut_out(path: Path) -> np.ndarray:
    """Read an RGBA picture as `CutOut.pixels` returns it, cropped to what is not transparent.

    Raises:
        DatasetError: If the file cannot be read, is too large, has no alpha channel, or is fully
            transparent.
    """
    rgba = _decoded(path, "RGBA")
    rows, columns = (np.flatnonzero(rgba[..., 3].max(axis) > 127) for axis in (1, 0))
    if len(rows):
        rgba = rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    alpha = rgba[..., 3:].astype(np.float32) / 255
    rgba = np.concatenate([(rgba[..., :3] * alpha).astype(np.uint8), rgba[..., 3:]], 2)
    return _shrunk(rgba, _LONGEST_SIDE)


@lru_cache(maxsize=256)
def read_background(path: Path) -> np.ndarray:
    """Read a photograph as `[H, W, 3]` uint8 RGB, its shorter side at most 640 pixels.

    Raises:
        DatasetError: If the file cannot be read, or is too large.
    """
    picture = _decoded(path, "RGB")
    height, width = picture.shape[:2]
    return _shrunk(picture, _BACKGROUND_SIDE * max(height, width) / min(height, width))


def photographs_in(folder: str | Path) -> tuple[Path, ...]:
    """List the photographs of a folder, in the order of their names.

    Raises:
        DatasetError: If the folder does not exist or has none.
    """
    from coprop_plugin.media import refuse_missing

    refuse_missing(Path(folder), "folder", DatasetError)
    found = tuple(_files(Path(folder), _PHOTOS, None))
    if not found:
        raise DatasetError(
            f"Expected photographs in {folder}, got none. Files that count end in "
            f"{', '.join(_PHOTOS)}."
        )
    return found


@lru_cache(maxsize=512)
def read_sound(path: Path) -> np.ndarray:
    """Read a sound: `[samples]` float32, mono at 16 kHz, at most 12 s, peak 1, pauses shortened.

    Raises:
        DatasetError: If the file is silent.
        MediaError: If it cannot be read.
    """
    from coprop_plugin.media import read_waveform

    waveform, rate = read_waveform(path)
    first = waveform[: round(_LONGEST_SOUND_S * rate)]
    sound = without_pauses(resample(first, rate, SAMPLE_RATE).numpy())
    if not len(sound) or not np.abs(sound).max() > 1e-4:
        raise DatasetError(f"{path} is silent. Remove the file.")
    return sound / np.abs(sound).max()


def without_pauses(sound: np.ndarray, longest_s: float = 0.15) -> np.ndarray:
    """Shorten the pauses of a sound at 16 kHz to at most `longest_s`, and remove leading silence.

    Example:
        >>> sound = np.concatenate([np.ones(1600), np.zeros(16000), np.ones(1600)])
        >>> len(without_pauses(sound)) < 8000
        True
    """
    step = round(_BLOCK_S * SAMPLE_RATE)
    count = len(sound) // step
    if count < 2:
        return sound.astype(np.float32)
    blocks = sound[: count * step].reshape(count, step)
    levels = np.sqrt((blocks**2).mean(1))
    loud = levels > 0.03 * np.quantile(levels, 0.98)
    since = np.zeros(count)
    for n in range(1, count):
        since[n] = 0 if loud[n] else since[n - 1] + 1
    kept = since <= max(1, round(longest_s / _BLOCK_S))
    kept &= np.cumsum(loud) > 0
    return blocks[kept].reshape(-1).astype(np.float32)


def _cut_outs(root: Path, wanted: Split | None) -> list[CutOut]:
    found = []
    for folder in _folders(root / "cutouts"):
        for file in _files(folder, _CUT_OUTS, wanted):
            sounds = tuple(s for end in _SOUNDS if (s := file.with_suffix(end)).is_file())
            found.append(CutOut(file, folder.name, sounds))
    return found


def _folders(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.is_dir()) if folder.is_dir() else []


def _files(folder: Path, endings: tuple[str, ...], wanted: Split | None) -> list[Path]:
    """Return the files of a folder with some endings, of all splits or of the `wanted` one."""
    if not folder.is_dir():
        return []
    files = (f for f in sorted(folder.iterdir()) if f.suffix.lower() in endings)
    return [f for f in files if wanted is None or split_of(f.stem) == wanted]


def _decoded(path: Path, mode: Literal["RGB", "RGBA"]) -> np.ndarray:
    """Read a picture as `[H, W, 3 or 4]` uint8, rotated as its metadata says."""
    from coprop_plugin.media import open_image

    try:
        with open_image(path, DatasetError) as image:
            has_alpha = "A" in image.getbands() or "transparency" in image.info
            pixels = np.array(ImageOps.exif_transpose(image).convert(mode))
    except DatasetError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path} cannot be read as a picture ({error}). Remove it.") from error
    if mode == "RGBA" and not (has_alpha and pixels[..., 3].any()):
        raise DatasetError(
            f"{path} has no alpha channel, or is fully transparent. Save cut-outs as RGBA PNG."
        )
    return pixels


def _shrunk(picture: np.ndarray, longest: float) -> np.ndarray:
    import cv2

    scale = longest / max(picture.shape[:2])
    if scale >= 1:
        return picture
    height, width = (max(2, round(side * scale)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
