"""Data sets of photographic scenes, to train propagators and keyframe models."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from coprop_plugin.registry import DATASETS
from coprop_plugin.world.clips import WorldClips
from coprop_plugin.world.frames import WorldFrames
from coprop_plugin.world.photographic import PhotographicScene
from coprop_plugin.world.photographic_assets import Assets, photographs_in, read_background
from coprop_plugin.world.scene import SoundingScene
from coprop_plugin.world.splits import Split, WorldDataset


class _Photographic(WorldDataset):
    """Draws photographic scenes in the place of synthetic ones."""

    def __init__(
        self,
        assets: str | Path | Assets,
        split: Split = "train",
        length: int = 1_000,
        size: Sequence[int] = (112, 160),
        *,
        duration_s: float = 10.0,
        **options: Any,
    ) -> None:
        super().__init__(split, length, size, **options)
        self.assets = assets if isinstance(assets, Assets) else Assets.from_folder(assets, split)
        self.duration_s = float(duration_s)
        self.num_classes = len(self.assets.kinds) + 1

    def _drawn(self, index: int) -> tuple[SoundingScene, Tensor, np.random.Generator]:
        seed = self.scene_seed(index)
        scene, waveform = _scene_and_sound(
            self.assets, seed, self.size, self.duration_s, self.off_screen
        )
        return scene, waveform, np.random.default_rng([seed, index % self.items_a_scene, 2])


@DATASETS.register_module()
class PhotographicClips(_Photographic, WorldClips):
    """Short clips of photographic scenes that start with a sounding object.

    Items are as in `WorldClips`.

    Args:
        assets: A folder with the layout that `Assets.from_folder` reads, or an `Assets`.
        split: Split of the seeds and of the assets.
        length: Number of items.
        size: Height and width in pixels.
        duration_s: Length of a scene in seconds.
        **options: Options of `WorldClips`.

    Raises:
        DatasetError: As `Assets.from_folder` and `WorldClips`.

    Example:
        >>> clips = PhotographicClips("assets", size=(112, 160), num_frames=8)  # doctest: +SKIP
        >>> clips[0]["frames"].shape  # doctest: +SKIP
        torch.Size([8, 3, 112, 160])
    """


@DATASETS.register_module()
class PhotographicFrames(_Photographic, WorldFrames):
    """Single frames of photographic scenes with their audio, to train a keyframe model.

    Items are as in `WorldFrames`, with the classes of the assets.

    With `photos`, an item also has `photo` `[3, H, W]` uint8: a piece of a photograph into which
    nothing was pasted.

    Args:
        assets: As in `PhotographicClips`, like the other arguments.
        photos: A folder of photographs, or True for the backgrounds of the assets.
        **options: Options of `WorldFrames`.

    Raises:
        DatasetError: As `Assets.from_folder` and `WorldFrames`; or if a folder of photographs is
            empty.
    """

    def __init__(
        self,
        assets: str | Path | Assets,
        split: Split = "train",
        length: int = 1_000,
        size: Sequence[int] = (112, 160),
        *,
        photos: str | Path | bool = False,
        **options: Any,
    ) -> None:
        super().__init__(assets, split, length, size, **options)
        self.photos = self.assets.backgrounds if photos is True else ()
        if not isinstance(photos, bool):
            self.photos = photographs_in(photos)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        item = super().__getitem__(index)
        if self.photos:
            rng = np.random.default_rng([self.seed, index, 3])
            item["photo"] = _piece(self.photos[rng.integers(len(self.photos))], self.size, rng)
        return item


def _piece(photo: Path, size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """Cut a random piece of half the photograph's side or more, `[3, H, W]` uint8."""
    pixels = read_background(photo)
    height, width = pixels.shape[:2]
    largest = min(height / size[0], width / size[1])
    scale = largest * float(rng.uniform(0.5, 1))
    rows, columns = (max(1, round(side * scale)) for side in size)
    top, left = (int(rng.integers(n)) for n in (height - rows + 1, width - columns + 1))
    piece = Image.fromarray(pixels[top : top + rows, left : left + columns])
    small = np.asarray(piece.resize((size[1], size[0]), Image.Resampling.BILINEAR))
    return torch.from_numpy(small.copy()).permute(2, 0, 1).contiguous()


@lru_cache(maxsize=8)
def _scene_and_sound(
    assets: Assets, seed: int, size: tuple[int, int], duration_s: float, off_screen: float
) -> tuple[PhotographicScene, Tensor]:
    scene = PhotographicScene.drawn(assets, seed, duration_s, size, off_screen)
    return scene, scene.waveform()
