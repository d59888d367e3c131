"""AVSBench-object: S4 (one source, one label in training) and MS3 (many sources)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from coprop_plugin.benchmark.datasets.base import AVSDataset
from coprop_plugin.benchmark.datasets.class_labels import ClassLabels
from coprop_plugin.benchmark.datasets.clip_truth import Truth
from coprop_plugin.benchmark.datasets.listing import Row
from coprop_plugin.benchmark.datasets.read_pictures import binary_mask, read_masks
from coprop_plugin.registry import DATASETS


class _Binary(AVSDataset):
    twin_subset: ClassVar[str]

    def __init__(
        self,
        root: str | Path,
        split: str | None = "train",
        ids: Sequence[str] | str | Path | None = None,
        *,
        avss_root: str | Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__(root, split, ids, **options)
        self.class_labels = None
        if avss_root is not None:
            self.class_labels = ClassLabels(avss_root, self.twin_subset, self.size, self.resize)

    def truth(self, index: int) -> Truth:
        """Read only the truth of a clip: its masks, and AVSS's labels of it with `avss_root`."""
        truth = super().truth(index)
        if self.class_labels is None:
            return truth
        labels, known = self.class_labels.of(self.rows[index].id, truth.masks)
        if bool((truth.labelled & ~known).any()):
            return truth
        return replace(truth, labels=labels, classes=self.class_labels.classes)

    def _read_masks(self, paths: Sequence[Path]) -> Tensor:
        return read_masks(paths, binary_mask, self.size, self.resize)


@DATASETS.register_module(name=["AVSBenchS4", "S4"])
class S4(_Binary):
    """AVSBench S4: 4932 videos of 5 s, one sounding source each (section 4.1).

    `root` is the folder `Single-source`. In training only the first of the five frames is
    labelled, as in the benchmark; the other masks are 0, and False in `labelled`.

    Args:
        root: As above.
        split: As in `AVSDataset`, like `ids` and the options.
        ids: Only these clips.
        avss_root: Folder of AVSBench-semantic, whose labels of the same clips give categories and
            control points; see `ClassLabels`.
        **options: Those of `AVSDataset`.

    Raises:
        DatasetError: As `AVSDataset`; of a clip, if it has no twin in AVSS.

    Example:
        >>> dataset = S4("Single-source", split="train", size=224)  # doctest: +SKIP
        >>> dataset[0].labelled.tolist()  # doctest: +SKIP
        [True, False, False, False, False]
    """

    table = "s4_meta_data.csv"
    twin_subset = "v1s"
    columns = ("category", "split")

    def frame_files(self, row: Row) -> list[Path]:
        """Return `visual_frames/<split>/<category>/<id>/<id>_1..5.png`."""
        folder = self._folder("visual_frames", row) / row.id
        return [folder / f"{row.id}_{i}.png" for i in range(1, 6)]

    def mask_files(self, row: Row) -> list[Path]:
        """Return `gt_masks/<split>/<category>/<id>/<id>_*.png`: 1 in training, else 1..5."""
        folder = self._folder("gt_masks", row) / row.id
        num_labelled = 1 if row.values["split"] == "train" else 5
        return [folder / f"{row.id}_{i}.png" for i in range(1, num_labelled + 1)]

    def wav_file(self, row: Row) -> Path:
        """Return `audio_wav/<split>/<category>/<id>.wav`."""
        return self._folder("audio_wav", row) / f"{row.id}.wav"

    def log_mel_file(self, row: Row) -> Path:
        """Return `audio_log_mel/<split>/<category>/<id>.pkl`."""
        return self._folder("audio_log_mel", row) / f"{row.id}.pkl"

    def _folder(self, kind: str, row: Row) -> Path:
        return self.root / "s4_data" / kind / row.values["split"] / row.values["category"]

    def _category(self, row: Row) -> str:
        return row.values["category"]


@DATASETS.register_module(name=["AVSBenchMS3", "MS3"])
class MS3(_Binary):
    """AVSBench MS3: 424 videos of 5 s, many sounding sources (section 4.1).

    `root` is the folder `Multi-sources`. All frames are labelled; masks are binary and do not tell
    the sources apart: they do not show that a dog hands over to a girl, which AVSS's labels do.

    Args:
        root: As above.
        split: As in `AVSDataset`, like `ids` and the options.
        ids: Only these clips.
        avss_root: Folder of AVSBench-semantic, whose labels of the same clips give categories and
            control points; see `ClassLabels`.
        **options: Those of `AVSDataset`.

    Raises:
        DatasetError: As `AVSDataset`; of a clip, if it has no twin in AVSS.

    Example:
        >>> dataset = MS3("Multi-sources", split="test", log_mel="pkl")  # doctest: +SKIP
        >>> dataset[0].masks.shape  # doctest: +SKIP
        torch.Size([5, 224, 224])
    """

    table = "ms3_meta_data.csv"
    twin_subset = "v1m"

    def frame_files(self, row: Row) -> list[Path]:
        """Return `visual_frames/<id>/<id>.mp4_1..5.png`."""
        folder = self.root / "ms3_data" / "visual_frames" / row.id
        return [folder / f"{row.id}.mp4_{i}.png" for i in range(1, 6)]

    def mask_files(self, row: Row) -> list[Path]:
        """Return `gt_masks/<split>/<id>/<id>_1..5.png`."""
        folder = self.root / "ms3_data" / "gt_masks" / row.values["split"] / row.id
        return [folder / f"{row.id}_{i}.png" for i in range(1, 6)]

    def wav_file(self, row: Row) -> Path:
        """Return `audio_wav/<split>/<id>.wav`."""
        return self.root / "ms3_data" / "audio_wav" / row.values["split"] / f"{row.id}.wav"

    def log_mel_file(self, row: Row) -> Path:
        """Return `audio_log_mel/<split>/<id>.pkl`."""
        return self.root / "ms3_data" / "audio_log_mel" / row.values["split"] / f"{row.id}.pkl"
