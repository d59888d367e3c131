"""Opening a folder as the data set it holds, or videos with a file of their control points."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from coprop_plugin.benchmark.datasets.aviseg import AVISeg
from coprop_plugin.benchmark.datasets.avsbench import MS3, S4
from coprop_plugin.benchmark.datasets.avss import AVSS
from coprop_plugin.benchmark.datasets.base import AVSDataset
from coprop_plugin.benchmark.datasets.sample import Sample
from coprop_plugin.control_points.providers import FileProvider
from coprop_plugin.errors import DatasetError
from coprop_plugin.media import refuse_missing
from coprop_plugin.pipeline.audio_items import AudioItem
from coprop_plugin.types import Clip

_LAYOUTS: tuple[type[AVSDataset], ...] = (S4, MS3, AVSS, AVISeg)


def is_dataset(folder: str | Path) -> bool:
    """Whether a folder has the layout of S4, MS3, AVSS or AVISeg."""
    return any((Path(folder) / layout.table).is_file() for layout in _LAYOUTS)


def open_folder(
    root: str | Path,
    split: str | None = "test",
    ids: Path | None = None,
    size: int | None = 224,
    avss_root: str | Path | None = None,
    words: str | Path | None = None,
) -> AVSDataset:
    """Open a folder as S4, MS3, AVSS or AVISeg, recognised by its table.

    Args:
        root: The folder.
        split: As in `AVSDataset`, like `ids` and `size`.
        ids: Only these clips.
        size: Side in pixels.
        avss_root: Of S4 and MS3: the folder of AVSS, whose labels of the same clips give
            categories and control points. The others have their own.
        words: As in `AVSDataset`.

    Raises:
        DatasetError: If it does not exist or holds none of their tables, or as the data set does.
    """
    refuse_missing(Path(root), "folder", DatasetError)
    for layout in _LAYOUTS:
        if (Path(root) / layout.table).is_file():
            labels: dict[str, Any] = {"avss_root": avss_root} if layout in (S4, MS3) else {}
            return layout(root, split, ids, size=size, words=words, **labels)
    tables = ", ".join(f"{layout.table} ({layout.__name__})" for layout in _LAYOUTS)
    raise DatasetError(f"{root} holds no table of clips. Expected one of: {tables}.")


def dataset_items(root: str | Path, split: str | None = None) -> list[AudioItem]:
    """Return the clips of a folder in AVSBench's layout, to read their audio alone.

    Args:
        root: The folder.
        split: `"train"`, `"val"`, `"test"`, or None for all.

    Raises:
        DatasetError: As `open_folder`.
    """
    dataset = open_folder(root, split, size=None)
    return [
        AudioItem(row.id, dataset.wav_file(row), num_frames=len(dataset.frame_files(row)))
        for row in dataset.rows
    ]


def videos_with_truth(videos: Iterable[AudioItem], truth: str | Path) -> list[Sample]:
    """Return videos as clips whose control points are known.

    Their masks are placeholders: in each segment a class of its own sounds in every pixel.

    Args:
        videos: The videos.
        truth: A file of their true control points, see `FileProvider`.

    Raises:
        CopropError: If a video, or its truth, cannot be read.
    """
    provider = FileProvider(truth)
    return [_sample(item.clip(), provider) for item in videos]


def _sample(clip: Clip, provider: FileProvider) -> Sample:
    points = provider.propose(clip)
    segment = points.flags.long().cumsum(0)
    silent = points.silent
    ids = segment if silent is None else segment.where(~silent, torch.zeros_like(segment))
    masks = ids[:, None, None].expand(-1, *clip.size)
    labelled = torch.ones(clip.num_frames, dtype=torch.bool)
    num_classes = len(points) + 1
    return Sample(str(clip.name), clip, masks, labelled, num_classes, control_points=points)
