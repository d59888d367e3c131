"""Data sets of photographic scenes, to train propagators and keyframe models."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from coprop_plugin.registry import DATASETS
from coprop_plugin.world.clips import WorldClips
from coprop_plugin.world.frames import WorldFrames
from coprop_plugin.world.photographic import PhotographicScene
from coprop_plugin.world.photographic_assets import Assets
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

    Args:
        assets: As in `PhotographicClips`, like the other arguments.
        **options: Options of `WorldFrames`.

    Raises:
        DatasetError: As `Assets.from_folder` and `WorldFrames`.
    """


@lru_cache(maxsize=8)
def _scene_and_sound(
    assets: Assets, seed: int, size: tuple[int, int], duration_s: float, off_screen: float
) -> tuple[PhotographicScene, Tensor]:
    scene = PhotographicScene.drawn(assets, seed, duration_s, size, off_screen)
    return scene, scene.waveform()
