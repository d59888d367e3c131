"""Clips with truth from scenes, synthetic or of photographs: rendered on demand."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from coprop_plugin.benchmark.datasets import Sample
from coprop_plugin.errors import DatasetError
from coprop_plugin.types import Clip, Sampling
from coprop_plugin.world import Assets, PhotographicScene, SoundingScene
from coprop_plugin.world.scene import Ids
from coprop_plugin.world.splits import SPLITS, made_up_scene


@dataclass(frozen=True)
class WorldOptions:
    """How scenes are generated and rendered.

    Args:
        size: Height and width in pixels, at least 16 each.
        num_frames: Frames a clip.
        fps: Frames a second.
        sampling: See `Clip`; `"avsbench"` takes one frame a second.
        assets: Folder of cut-outs, backgrounds and sounds for photographic scenes; None for
            synthetic ones.
        unchanging: Whether to take only scenes in which one set of objects sounds all the time.

    Raises:
        DatasetError: If an option is out of range.
    """

    size: tuple[int, int] = (112, 160)
    num_frames: int = 10
    fps: float = 1.0
    sampling: Sampling = "avsbench"
    assets: str | None = None
    unchanging: bool = False

    def __post_init__(self) -> None:
        if min(self.size) < 16 or self.num_frames < 1 or not self.fps > 0:
            raise DatasetError(
                "Expected at least 16 x 16 pixels, one frame, and a rate above 0, got "
                f"size={self.size}, num_frames={self.num_frames}, fps={self.fps}."
            )
        if self.sampling == "avsbench" and self.fps != 1:
            raise DatasetError(
                "Expected fps=1 with sampling='avsbench', which takes one frame a second, got "
                f"fps={self.fps}. Use sampling='pts' for other rates."
            )


class WorldSamples(Sequence[Sample]):
    """Scenes of the test split as clips with truth.

    The truth of synthetic scenes is semantic. That of photographic scenes is binary, so that models
    of any classes can be scored.

    Args:
        length: Number of scenes.
        first: Number of scenes of the split to skip.
        options: How they are rendered.

    Raises:
        DatasetError: If the split has fewer scenes, or as in `Assets.from_folder`.

    Example:
        >>> samples = WorldSamples(2, options=WorldOptions(size=(32, 48), num_frames=3))
        >>> samples.ids, samples[0].masks.shape
        (['scene-2000', 'scene-2001'], torch.Size([3, 32, 48]))
    """

    def __init__(self, length: int, first: int = 0, options: WorldOptions | None = None) -> None:
        self.options = options or WorldOptions()
        folder = self.options.assets
        self.assets = None if folder is None else Assets.from_folder(folder, "test")
        seeds: Sequence[int] = SPLITS["test"]
        if self.options.unchanging:
            seeds = [seed for seed in seeds if not self.scene(seed).changes]
        if length < 1 or first < 0 or first + length > len(seeds):
            raise DatasetError(
                f"Expected scenes of the test split, which has {len(seeds)}, got {length} scenes "
                f"from scene {first} on. Take fewer scenes, or fewer sets of them."
            )
        self.seeds = seeds[first : first + length]

    @property
    def ids(self) -> list[str]:
        """Names of the scenes."""
        return [f"scene-{seed}" for seed in self.seeds]

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices
        """Render one scene."""
        options, scene = self.options, self.scene(self.seeds[index])
        clip = scene.clip(options.fps, options.sampling)
        ids: Ids = "class" if self.assets is None else "binary"
        return Sample(
            self.ids[index],
            clip,
            scene.truth(clip, ids),
            torch.ones(clip.num_frames, dtype=torch.bool),
            scene.num_classes if self.assets is None else 1,
            split="test",
            control_points=scene.control_points(clip),
            silent_objects=partial(silent_objects, scene, clip, ids),
        )

    def scene(self, seed: int) -> SoundingScene:
        """Return the scene of a seed, to be rendered."""
        options = self.options
        duration_s = options.num_frames / options.fps
        if self.assets is None:
            return made_up_scene(seed, options.size, duration_s)
        return PhotographicScene.drawn(self.assets, seed, duration_s, options.size)


def silent_objects(scene: SoundingScene, clip: Clip, ids: Ids, time_s: float) -> list[Tensor]:
    """Return masks `[H, W]` of the visible objects that do not sound in the frame at a time."""
    span = clip.spans[int((clip.times - time_s).abs().argmin())].tolist()
    silent = set(range(len(scene.objects))) - scene.prevailing(*span)
    masks = [scene.mask(time_s, frozenset([number]), ids) for number in sorted(silent)]
    return [mask for mask in masks if bool(mask.any())]


def world_sets(length: int, number: int, options: WorldOptions) -> dict[str, WorldSamples]:
    """Return several sets of scenes without a scene in common.

    Example:
        >>> {name: s.ids[0] for name, s in world_sets(5, 2, WorldOptions()).items()}
        {'scenes 2000-2004': 'scene-2000', 'scenes 2005-2009': 'scene-2005'}
    """
    sets = (WorldSamples(length, n * length, options) for n in range(number))
    return {f"scenes {s.seeds[0]}-{s.seeds[-1]}": s for s in sets}
