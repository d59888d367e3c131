"""AVISeg, long videos with every sounding instance (Guo et al., arXiv:2310.18709)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from coprop_plugin.benchmark.datasets.base import AVSDataset
from coprop_plugin.benchmark.datasets.clip_truth import Truth
from coprop_plugin.benchmark.datasets.instances_file import (
    InstanceVideo,
    read_instances,
    track_masks,
)
from coprop_plugin.benchmark.datasets.listing import Row, of_ids
from coprop_plugin.benchmark.datasets.read_pictures import fitted
from coprop_plugin.errors import DatasetError
from coprop_plugin.media import ROWS_IN_MEMORY, read_waveform, stacked_rows
from coprop_plugin.registry import DATASETS
from coprop_plugin.types import Clip

SPLITS = ("train", "val", "test")


@DATASETS.register_module()
class AVISeg(AVSDataset):
    """AVISeg: 926 videos of a minute, a frame a second, instances of 26 classes.

    A frame of a `Sample` has the classes of its sounding instances, by the numbers of the file, 0
    for the background; where instances overlap, the later one counts. `videos` has the instances
    themselves, for `track_scores`. Frames are taken to show the middle of their second.

    Args:
        root: Folder with `train.json`, `val.json` or `test.json`, and for each a folder of that
            name with `JPEGImages/NAME/*.jpg` and `WAVAudios/NAME.wav`.
        split: `"train"`, `"val"`, `"test"`, or None for all that there are.
        ids: Only these videos: names of their folders, or a file with one a line.
        in_memory: Frames of a video, or masks, that take more bytes are kept in a temporary file
            and read where they are used; the audio is held.
        **options: Those of `AVSDataset`; there is no other table, and there are no log-mel files.

    Raises:
        DatasetError: If there is no such file, it is malformed, or a name is not in it.

    Example:
        >>> dataset = AVISeg("AVISeg", split="test", size=224)  # doctest: +SKIP
        >>> dataset.num_classes, dataset[0].masks.shape  # doctest: +SKIP
        (27, torch.Size([61, 224, 224]))
    """

    table = "test.json"

    def __init__(
        self,
        root: str | Path,
        split: str | None = "test",
        ids: Sequence[str] | str | Path | None = None,
        *,
        in_memory: int = ROWS_IN_MEMORY,
        **options: Any,
    ) -> None:
        self.root, self.split, self.in_memory = Path(root), split, in_memory
        self._set_options(**options)
        files = [self.root / f"{name}.json" for name in ((split,) if split else SPLITS)]
        self.path = files[0] if split else self.root
        self.videos: dict[str, InstanceVideo] = {}
        rows: list[Row] = []
        classes: dict[int, str] = {}
        for file in files if split else [file for file in files if file.is_file()]:
            known, videos = read_instances(file)
            classes |= known
            self.videos |= {video.name: video for video in videos}
            rows += [Row(v.name, {"split": file.stem}, n) for n, v in enumerate(videos, 1)]
        if not rows:
            raise DatasetError(
                f"{root} has none of {', '.join(file.name for file in files)}. Give the folder of "
                "AVISeg that holds them."
            )
        self.classes = (
            "background",
            *(classes.get(n, f"class {n}") for n in range(1, max(classes) + 1)),
        )
        self.num_classes = len(self.classes)
        self.rows = of_ids(rows, ids, self.path)

    def frame_files(self, row: Row) -> list[Path]:
        """Return `<split>/JPEGImages/<name>/*.jpg`, in the file's order."""
        folder = self.root / row.values["split"] / "JPEGImages" / row.id
        return [folder / name for name in self.videos[row.id].frames]

    def mask_files(self, row: Row) -> list[Path]:
        """Return no files: the masks are in the table."""
        return []

    def wav_file(self, row: Row) -> Path:
        """Return `<split>/WAVAudios/<name>.wav`."""
        return self.root / row.values["split"] / "WAVAudios" / f"{row.id}.wav"

    def truth(self, index: int) -> Truth:
        """Read only the truth of a video; its masks are classes."""
        masks, labelled = self.masks(index)
        return Truth(masks, labelled, masks, self.classes)

    def masks(self, index: int) -> tuple[Tensor, Tensor]:
        """Read only the true masks of a video, one frame at a time."""
        video = self.videos[self.rows[index].id]
        number = len(video.frames)
        masks = stacked_rows(self._labels(video), number, self.in_memory)
        return masks, torch.ones(number, dtype=torch.bool)

    def _labels(self, video: InstanceVideo) -> Iterator[np.ndarray]:
        """Yield the classes of each frame `[H, W]` int64."""
        for t in range(len(video.frames)):
            labels = np.zeros(video.size, dtype=np.uint8)
            instances = track_masks(video.tracks, t, video.size).numpy()
            for track, mask in zip(video.tracks, instances, strict=True):
                labels[mask] = track.class_id
            picture = fitted(Image.fromarray(labels), self.size, self.resize, is_mask=True)
            yield np.array(picture).astype(np.int64)

    def _read_masks(self, paths: Sequence[Path]) -> Tensor:
        raise NotImplementedError("The masks are in the table.")

    def _clip(self, row: Row, frames: Tensor) -> Clip:
        wav = self.wav_file(row)
        if not wav.is_file():
            raise DatasetError(
                f"There is no {wav}, though the table lists its video. Complete the data folder."
            )
        waveform, sample_rate = read_waveform(wav)
        times = torch.arange(len(frames)) + 0.5
        return Clip(frames, waveform, sample_rate, times, source=wav, name=row.id)
