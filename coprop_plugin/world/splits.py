"""What is common to all data sets of made-up scenes: splits, and how items are drawn."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from coprop_plugin.errors import DatasetError
from coprop_plugin.world.objects import KINDS
from coprop_plugin.world.scene import Scene

SPLITS = {
    "train": range(10_000_000, 1_000_000_000),
    "val": range(1_000, 2_000),
    "test": range(2_000, 3_000),
}
"""The seeds of the scenes of each split."""

NUM_CLASSES = len(KINDS) + 1
"""Classes of the masks, 0 the silent background included."""

_OFF_SCREEN = (9.0, 9.0)


def made_up_scene(
    seed: int, size: tuple[int, int], duration_s: float = 10.0, off_screen: float = 0.2
) -> Scene:
    """Make up a scene of two to four objects, sometimes with a sound that is not to be seen.

    In one of seven a single object sounds all the time, and nothing changes.

    Args:
        seed: The same seed gives the same scene.
        size: Height and width in pixels.
        duration_s: Length in seconds.
        off_screen: How likely a further object sounds outside the picture.

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
    stranger = replace(
        scene.objects[0],
        kind=int(rng.choice(unseen)),
        seed=int(rng.integers(1 << 30)),
        events=((start_s, start_s + float(rng.uniform(0.2, 0.5)) * duration_s),),
        centre=_OFF_SCREEN,
    )
    return replace(scene, objects=(*scene.objects, stranger))


def segments_of(scene: Scene) -> list[tuple[float, float]]:
    """Return the stretches of a scene between which the set of sounding objects may change.

    Half-open, in seconds; sounds that are not to be seen count.
    """
    bounds = {t for thing in scene.objects for event in thing.events for t in event}
    inside = sorted(t for t in bounds if 0 < t < scene.duration_s)
    edges = [0.0, *inside, scene.duration_s]
    return [(a, b) for a, b in zip(edges, edges[1:], strict=False) if b - a > 1e-6]


class WorldDataset(Dataset):
    """What the data sets of scenes have in common.

    Args:
        split: "train", "val" or "test".
        length: Items; an epoch of training.
        size: Height and width in pixels.
        seed: In training, another seed gives other scenes; val and test stay as they are.
        augment: Whether to mirror pictures and to silence sounds; by default in training.
        off_screen: How likely a scene has a sound that is not to be seen.

    Raises:
        DatasetError: If there is no such split, or it has fewer scenes.
    """

    items_a_scene = 1

    def __init__(
        self,
        split: str = "train",
        length: int = 1_000,
        size: Sequence[int] = (112, 160),
        *,
        seed: int = 0,
        augment: bool | None = None,
        off_screen: float = 0.2,
    ) -> None:
        if split not in SPLITS:
            raise DatasetError(f"Got split={split!r}; there are {', '.join(SPLITS)}.")
        most = len(SPLITS[split]) * self.items_a_scene
        if not 0 < length <= most:
            raise DatasetError(f"Got length={length}; {split} has 1 to {most} items.")
        self.split, self.length, self.seed = split, length, seed
        self.size = (int(size[0]), int(size[1]))
        self.augment = split == "train" if augment is None else augment
        self.off_screen = off_screen

    def __len__(self) -> int:
        return self.length

    def scene_seed(self, index: int) -> int:
        """Return the seed of the scene of item `index`.

        Raises:
            IndexError: If there is no such item.
        """
        if not 0 <= index < self.length:
            raise IndexError(f"Got index {index}; there are {self.length} items.")
        shift = self.seed * 1_000_003 if self.split == "train" else 0
        seeds = SPLITS[self.split]
        return seeds[(index // self.items_a_scene + shift) % len(seeds)]

    def _drawn(self, index: int) -> tuple[Scene, Tensor, np.random.Generator]:
        seed = self.scene_seed(index)
        scene, waveform = _scene_and_sound(seed, self.size, self.off_screen)
        return scene, waveform, np.random.default_rng([seed, index % self.items_a_scene, 2])

    def _happens(self, rng: np.random.Generator, share: float) -> bool:
        """Draw whether an augmentation is done that is done to this share of the items."""
        return self.augment and rng.random() < share

    def _mirrored(self, rng: np.random.Generator, *pictures: Tensor) -> tuple[Tensor, ...]:
        """Return pictures and their masks `[..., H, W]`, half of the time seen in a mirror."""
        if not self._happens(rng, 0.5):
            return pictures
        return tuple(picture.flip(-1) for picture in pictures)


@lru_cache(maxsize=8)
def _scene_and_sound(seed: int, size: tuple[int, int], off_screen: float) -> tuple[Scene, Tensor]:
    scene = made_up_scene(seed, size, off_screen=off_screen)
    return scene, scene.waveform()
