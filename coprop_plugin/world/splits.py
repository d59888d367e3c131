"""Splits of the synthetic scenes, and the base class of their data sets."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from coprop_plugin.errors import DatasetError
from coprop_plugin.world.objects import KINDS
from coprop_plugin.world.scene import Scene, SoundingScene

Split = Literal["train", "val", "test"]

SPLITS: dict[Split, range] = {
    "train": range(10_000_000, 1_000_000_000),
    "val": range(1_000, 2_000),
    "test": range(2_000, 3_000),
}
"""Seeds of the scenes of each split."""

NUM_CLASSES = len(KINDS) + 1
"""Number of classes of the masks, including 0, the silent background."""

_OFF_SCREEN = (9.0, 9.0)


def made_up_scene(
    seed: int, size: tuple[int, int], duration_s: float = 10.0, off_screen: float = 0.2
) -> Scene:
    """Generate a scene of two to four objects, sometimes with an off-screen sound.

    In one of seven scenes a single object sounds all the time, without changes.

    Args:
        seed: The same seed gives the same scene.
        size: Height and width in pixels.
        duration_s: Length in seconds.
        off_screen: Probability of another object that sounds outside the frame.

    Example:
        >>> len(made_up_scene(3, (32, 32)).objects) in range(2, 6)
        True
    """
    rng = np.random.default_rng([seed, 1])
    num_objects, steady = int(rng.integers(2, 5)), bool(rng.random() < 1 / 7)
    scene = Scene.made_up(seed, duration_s, size, num_objects, steady)
    if steady or rng.random() >= off_screen:
        return scene
    unseen = sorted(set(range(len(KINDS))) - {thing.kind for thing in scene.objects})
    start_s = float(rng.uniform(0, 0.5)) * duration_s
    hidden = replace(
        scene.objects[0],
        kind=int(rng.choice(unseen)),
        seed=int(rng.integers(1 << 30)),
        events=((start_s, start_s + float(rng.uniform(0.2, 0.5)) * duration_s),),
        centre=_OFF_SCREEN,
    )
    return replace(scene, objects=(*scene.objects, hidden))


def segments_of(scene: SoundingScene) -> list[tuple[float, float]]:
    """Return the segments of a scene: between them the set of sounding objects may change.

    Half-open, in seconds; off-screen sounds count.
    """
    bounds = {t for thing in scene.objects for event in thing.events for t in event}
    inside = sorted(t for t in bounds if 0 < t < scene.duration_s)
    edges = [0.0, *inside, scene.duration_s]
    return [(a, b) for a, b in zip(edges, edges[1:], strict=False) if b - a > 1e-6]


class WorldDataset(Dataset):
    """Base class of the data sets of scenes.

    Args:
        split: "train", "val" or "test".
        length: Number of items; an epoch of training.
        size: Height and width in pixels.
        seed: In training, another seed gives other scenes; val and test do not depend on it.
        augment: Whether to mirror frames and to silence audio; by default in training only.
        off_screen: Probability that a scene has an off-screen sound.

    Raises:
        DatasetError: If the split does not exist, or has fewer scenes.
    """

    items_a_scene = 1
    num_classes = NUM_CLASSES

    def __init__(
        self,
        split: Split = "train",
        length: int = 1_000,
        size: Sequence[int] = (112, 160),
        *,
        seed: int = 0,
        augment: bool | None = None,
        off_screen: float = 0.2,
    ) -> None:
        if split not in SPLITS:
            raise DatasetError(f"Expected split to be one of {', '.join(SPLITS)}, got {split!r}.")
        most = len(SPLITS[split]) * self.items_a_scene
        if not 0 < length <= most:
            raise DatasetError(f"Expected length from 1 to {most} for {split}, got {length}.")
        self.split, self.length, self.seed = split, length, seed
        self.size = (int(size[0]), int(size[1]))
        self.augment = split == "train" if augment is None else augment
        self.off_screen = off_screen

    def __len__(self) -> int:
        return self.length

    def scene_seed(self, index: int) -> int:
        """Return the seed of the scene of item `index`.

        Raises:
            IndexError: If the item does not exist.
        """
        if not 0 <= index < self.length:
            raise IndexError(f"Expected an index below {self.length}, got {index}.")
        shift = self.seed * 1_000_003 if self.split == "train" else 0
        seeds = SPLITS[self.split]
        return seeds[(index // self.items_a_scene + shift) % len(seeds)]

    def _drawn(self, index: int) -> tuple[SoundingScene, Tensor, np.random.Generator]:
        seed = self.scene_seed(index)
        scene, waveform = _scene_and_sound(seed, self.size, self.off_screen)
        return scene, waveform, np.random.default_rng([seed, index % self.items_a_scene, 2])

    def _happens(self, rng: np.random.Generator, share: float) -> bool:
        """Draw whether to apply an augmentation that is applied to this share of the items."""
        return self.augment and rng.random() < share

    def _mirrored(self, rng: np.random.Generator, *pictures: Tensor) -> tuple[Tensor, ...]:
        """Return frames and their masks `[..., H, W]`, mirrored half of the time."""
        if not self._happens(rng, 0.5):
            return pictures
        return tuple(picture.flip(-1) for picture in pictures)


@lru_cache(maxsize=8)
def _scene_and_sound(seed: int, size: tuple[int, int], off_screen: float) -> tuple[Scene, Tensor]:
    scene = made_up_scene(seed, size, off_screen=off_screen)
    return scene, scene.waveform()
