"""The clips that `coprop bench` and `coprop anchor compare` name."""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from coprop_plugin.batch import video_items
from coprop_plugin.benchmark.datasets import Samples
from coprop_plugin.benchmark.datasets.open import is_dataset, open_folder, videos_with_truth
from coprop_plugin.benchmark.robust import RobustSamples
from coprop_plugin.benchmark.sound_scenes import SoundScenes
from coprop_plugin.benchmark.world_clips import WorldOptions, WorldSamples, world_sets
from coprop_plugin.errors import DatasetError
from coprop_plugin.media import refuse_missing
from coprop_plugin.types import Sampling


def bench_clips(
    folder: Path | None,
    world: int,
    seeds: int,
    frames: int | None,
    fps: float,
    size: str,
    split: str,
    ids: Path | None,
    assets: Path | None = None,
    labels: Path | None = None,
    words: str | None = None,
    sounds: Path | None = None,
    clips: int = 20,
    unchanging: bool = False,
) -> tuple[dict[str, Samples], dict[str, Any]]:
    """Return the sets of clips for `coprop bench`, and their settings.

    Args:
        folder: A data set on disk.
        world: Or the number of scenes of the made-up world.
        seeds: Number of sets of scenes or mixtures.
        frames: Frames a scene; None for 10 s.
        fps: Frames a second of a scene.
        size: `"112x160"`, or one side in pixels; `""` for the default.
        split: Of the folder.
        ids: A list of clips of the folder.
        assets: Material of photographic scenes; None for synthetic ones.
        labels: The folder of AVSS, for the categories and control points of S4 and MS3.
        words: Words of the clips, `"labels"` or a file; see `AVSDataset`.
        sounds: Or a folder of recordings; the clips are scenes with mixtures of its test split.
        clips: Number of mixtures in each set.
        unchanging: Whether to take only scenes in which nothing changes.

    Raises:
        DatasetError: If there are no such clips, or not exactly one source is named.
    """
    _refuse_unused(assets, world, unchanging)
    if (folder is not None) + (world != 0) + (sounds is not None) != 1:
        raise DatasetError(
            "Name the clips: the folder of a data set, --world with a number of scenes, or "
            "--sounds with a folder of recordings."
        )
    sides = re.fullmatch(r"(\d+)(?:x(\d+))?", size or ("224" if folder else "112x160"))
    if sides is None or (folder is not None and sides[2]):
        raise DatasetError(f"Expected --size like 112x160, or one side for a folder, got {size}.")
    height = int(sides[1])
    if folder is not None:
        dataset = open_folder(folder, split, ids, height, labels, words)
        name = f"{type(dataset).__name__} {split}"
        where = {"folder": str(folder.resolve()), "split": split, "size": height}
        if labels is not None:
            where["labels"] = str(labels.resolve())
        if words is not None:
            # The words themselves, as a file may change under its name.
            content = json.dumps([words, dataset.words], sort_keys=True)
            where["words"] = hashlib.sha256(content.encode()).hexdigest()[:16]
        return {name: dataset}, {"data": name, **where}
    options = WorldOptions(
        (height, int(sides[2] or height)),
        frames or max(1, round(10 * fps)),
        fps,
        _world_sampling(fps),
        _resolved(assets),
        unchanging,
    )
    settings = {
        name: value for name, value in asdict(options).items() if value not in (None, False)
    }
    if sounds is not None:
        sets = {
            f"seed {seed}": SoundScenes(sounds, clips, seed=seed, options=options)
            for seed in range(seeds)
        }
        return dict[str, Samples](sets), {"data": "mixtures of recordings, test", **settings}
    data = dict[str, Samples](world_sets(world, seeds, options))
    kind = "made-up" if assets is None else "photographic"
    scenes = "test, nothing changes" if unchanging else "test"
    return data, {"data": f"{kind} world, {scenes}", **settings}


def with_negative_audio(
    data: dict[str, Samples], settings: dict[str, Any], robust: str
) -> tuple[dict[str, Samples], dict[str, Any]]:
    """Return the sets of clips under the conditions of AVSBench-Robust, and their settings.

    Args:
        data: Sets of clips.
        settings: Their settings.
        robust: A seed; or a folder of AVSBench-Robust's files.

    Raises:
        DatasetError: If it is neither.
    """
    if robust.isdigit():
        seed = int(robust)
        sets = {name: RobustSamples(s, seed + n) for n, (name, s) in enumerate(data.items())}
        return dict[str, Samples](sets), {**settings, "robust": seed}
    folder = Path(robust).resolve()
    files = {name: RobustSamples(samples, folder=folder) for name, samples in data.items()}
    return dict[str, Samples](files), {**settings, "robust": str(folder)}


def compare_clips(
    folder: Path | None,
    world: int,
    truth: Path | None,
    fps: float = 1.0,
    frames: int = 10,
    split: str = "test",
    assets: Path | None = None,
    sounds: Path | None = None,
    clips: int = 200,
    seed: int = 0,
    labels: Path | None = None,
) -> Samples:
    """Return clips with known control points for `coprop anchor compare`.

    Args:
        folder: A data set, or a folder of videos.
        world: Or the number of scenes of the made-up world.
        truth: Control points of the videos, for `FileProvider`.
        fps: Frames a second of scenes and videos.
        frames: Frames a scene.
        split: Of a data set; `"all"` for all of it.
        assets: Material of photographic scenes; None for synthetic ones.
        sounds: Or a folder of recordings; the clips are mixtures of its test split.
        clips: Number of mixtures.
        seed: Seed of the mixtures.
        labels: The folder of AVSS, for the control points of S4 and MS3.

    Raises:
        DatasetError: If there are no such clips, or not exactly one source is named.
        CopropError: If a video, or its truth, cannot be read.
    """
    _refuse_unused(assets, world)
    if (folder is not None) + (world != 0) + (sounds is not None) != 1:
        raise DatasetError(
            "Name the clips: a data set, a folder of videos with --truth, --world with a number of "
            "scenes, or --sounds with a folder of recordings."
        )
    if sounds is not None:
        options = WorldOptions((32, 48), max(1, round(10 * fps)), fps, _world_sampling(fps))
        return SoundScenes(sounds, clips, seed=seed, options=options)
    if folder is None:
        sampling = _world_sampling(fps)
        options = WorldOptions((56, 80), frames, fps, sampling, _resolved(assets))
        return WorldSamples(world, options=options)
    refuse_missing(folder, "folder", DatasetError)
    if is_dataset(folder):
        return open_folder(folder, None if split == "all" else split, None, None, labels)
    if truth is None:
        raise DatasetError(
            f"{folder} is not a data set (S4, MS3, AVSS). For videos, give their control points: "
            "--truth points.json, as `coprop anchor -o points.json` writes it."
        )
    return videos_with_truth(video_items([folder], fps or None), truth)


def _refuse_unused(assets: Path | None, world: int, unchanging: bool = False) -> None:
    if assets is not None and not world:
        raise DatasetError("--assets needs --world with the number of photographic scenes.")
    if unchanging and not world:
        raise DatasetError("--unchanging needs --world with the number of scenes.")


def _resolved(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _world_sampling(fps: float) -> Sampling:
    """Return AVSBench's sampling where its one frame a second is wanted."""
    return "avsbench" if fps == 1 else "pts"
