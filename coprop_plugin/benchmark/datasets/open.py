"""The clips with truth that `coprop bench` runs on: made-up scenes, or a data set on disk."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from coprop_plugin.benchmark.datasets import AVSS, MS3, S4, AVSDataset, Sample
from coprop_plugin.errors import DatasetError
from coprop_plugin.types import Sampling
from coprop_plugin.world.splits import NUM_CLASSES, SPLITS, made_up_scene

_LAYOUTS = (S4, MS3, AVSS)


@dataclass(frozen=True)
class WorldOptions:
    """Which clips of the made-up world.

    Args:
        size: Height and width in pixels.
        num_frames: Frames a clip.
        fps: Frames a second.
        sampling: See `Clip`; with "avsbench" the rate is 1.

    Raises:
        DatasetError: If there are no such clips.
    """

    size: tuple[int, int] = (112, 160)
    num_frames: int = 10
    fps: float = 1.0
    sampling: Sampling = "avsbench"

    def __post_init__(self) -> None:
        if min(self.size) < 16 or self.num_frames < 1 or not self.fps > 0:
            raise DatasetError(
                f"Got size={self.size}, num_frames={self.num_frames}, fps={self.fps}; wanted at "
                "least 16 x 16 pixels, one frame, and a rate above 0."
            )
        if self.sampling == "avsbench" and self.fps != 1:
            raise DatasetError(
                f"Got sampling='avsbench' with fps={self.fps}; AVSBench takes one frame a second. "
                "Say sampling='pts' for other rates."
            )


class WorldSamples(Sequence[Sample]):
    """Scenes of the made-up world's test split as clips with truth, rendered when asked for.

    Args:
        length: Scenes.
        first: How many scenes of the split to pass over.
        options: What they look like.

    Raises:
        DatasetError: If the split has no such scenes.

    Example:
        >>> samples = WorldSamples(2, options=WorldOptions(size=(32, 48), num_frames=3))
        >>> samples.ids, samples[0].masks.shape
        (['scene-2000', 'scene-2001'], torch.Size([3, 32, 48]))
    """

    def __init__(self, length: int, first: int = 0, options: WorldOptions | None = None) -> None:
        seeds = SPLITS["test"]
        if length < 1 or first < 0 or first + length > len(seeds):
            raise DatasetError(
                f"Got {length} scenes from scene {first} on; the test split has {len(seeds)}. Take "
                "fewer scenes, or fewer sets of them."
            )
        self.seeds = seeds[first : first + length]
        self.options = options or WorldOptions()

    @property
    def ids(self) -> list[str]:
        """Names of the scenes."""
        return [f"scene-{seed}" for seed in self.seeds]

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> Sample:
        """Render one scene."""
        options = self.options
        duration_s = options.num_frames / options.fps
        scene = made_up_scene(self.seeds[index], options.size, duration_s)
        clip = scene.clip(options.fps, options.sampling)
        return Sample(
            self.ids[index],
            clip,
            scene.truth(clip),
            torch.ones(clip.num_frames, dtype=torch.bool),
            NUM_CLASSES,
            split="test",
            control_points=scene.control_points(clip),
        )


def world_sets(length: int, number: int, options: WorldOptions) -> dict[str, WorldSamples]:
    """Return several sets of scenes that have none in common.

    Example:
        >>> {name: s.ids[0] for name, s in world_sets(5, 2, WorldOptions()).items()}
        {'scenes 2000-2004': 'scene-2000', 'scenes 2005-2009': 'scene-2005'}
    """
    sets = (WorldSamples(length, n * length, options) for n in range(number))
    return {f"scenes {s.seeds[0]}-{s.seeds[-1]}": s for s in sets}


def is_dataset(folder: str | Path) -> bool:
    """Whether a folder is laid out as S4, MS3 or AVSS are."""
    return any((Path(folder) / layout.table).is_file() for layout in _LAYOUTS)


def open_folder(
    root: str | Path, split: str | None = "test", ids: Path | None = None, size: int | None = 224
) -> AVSDataset:
    """Open a folder in AVSBench's layout, S4, MS3 or AVSS as its table says.

    Raises:
        DatasetError: If it holds none of their tables, or as the data set says.
    """
    for layout in _LAYOUTS:
        if (Path(root) / layout.table).is_file():
            return layout(root, split, ids, size=size)
    tables = ", ".join(f"{layout.table} ({layout.__name__})" for layout in _LAYOUTS)
    raise DatasetError(f"There is no table of clips in {root}; wanted one of: {tables}.")


def clips_of(
    folder: Path | None,
    world: int,
    seeds: int,
    options: Mapping[str, Any],
    size: str,
    split: str,
    ids: Path | None,
) -> tuple[dict[str, Sequence[Sample]], dict[str, Any]]:
    """Return the sets of clips that a command line asks for, and their settings.

    Args:
        folder: A data set on disk.
        world: Or so many scenes.
        seeds: Sets of scenes.
        options: Of `WorldOptions`, without size and sampling.
        size: "112x160", or one side in pixels; "" for the default.
        split: Of the folder.
        ids: Of the folder: a list of clips.

    Raises:
        DatasetError: If there are no such clips, or both or none are asked for.
    """
    if (folder is None) == (world == 0):
        raise DatasetError(
            "Name the clips: the folder of a data set, or --world with a number of scenes."
        )
    sides = re.fullmatch(r"(\d+)(?:x(\d+))?", size or ("112x160" if world else "224"))
    if sides is None or (folder is not None and sides[2]):
        raise DatasetError(f"Got --size {size}; wanted 112x160, say, or one side for a folder.")
    height = int(sides[1])
    if folder is not None:
        dataset = open_folder(folder, split, ids, height)
        name = f"{type(dataset).__name__} {split}"
        where = {"folder": str(folder.resolve()), "split": split, "size": height}
        return {name: dataset}, {"data": name, **where}
    sampling = "avsbench" if options["fps"] == 1 else "pts"
    chosen = WorldOptions((height, int(sides[2] or height)), sampling=sampling, **options)
    return world_sets(world, seeds, chosen), {"data": "made-up world, test", **asdict(chosen)}
