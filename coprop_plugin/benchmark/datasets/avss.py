"""AVSBench-semantic: 71 classes, clips of 5 and 10 s."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor
from torch.nn import functional

from coprop_plugin.benchmark.datasets.base import AVSDataset
from coprop_plugin.benchmark.datasets.clip_truth import Truth
from coprop_plugin.benchmark.datasets.listing import Row
from coprop_plugin.benchmark.datasets.read_pictures import (
    UnknownColours,
    colour_labels,
    index_labels,
    read_masks,
)
from coprop_plugin.benchmark.datasets.sample import Sample
from coprop_plugin.errors import DatasetError
from coprop_plugin.limits import read_text
from coprop_plugin.registry import DATASETS

Labels = Literal["rgb", "semantic"]
"""Label files to read: coloured ones, as upstream does, or class numbers."""

NUM_FRAMES = {"v1s": 5, "v1m": 5, "v2": 10}
"""Frames of a clip in each subset of AVSS."""


@DATASETS.register_module()
class AVSS(AVSDataset):
    """AVSBench-semantic: 12 356 videos, pixels labelled with the sounding class (section 4.1).

    Subsets: v1s, the clips of S4 (5 frames, in training the first one labelled); v1m, those of MS3
    (5 frames, all labelled); and v2 (10 frames, all labelled). Upstream resizes with `size=224`, in
    training with `resize="crop"`.

    Args:
        root: Folder with `metadata.csv` and `label2idx.json`.
        split: `"train"`, `"val"`, `"test"`, or None for all.
        ids: Only these clips (`uid` in the table): names, or a file with one name a line.
        subsets: Which of v1s, v1m and v2.
        labels: `"rgb"`: coloured label files, as upstream; `"semantic"`: class numbers.
        unknown_colours: `"error"` or `"warn"`, see `read_pictures.colour_labels`.
        pad_to: Frames to pad each sample to, see `Sample.padded`; 10 allows batches.
        **options: Those of `AVSDataset`; there are no log-mel files.

    Raises:
        DatasetError: As `AVSDataset`; or if `label2idx.json` does not number the classes.

    Example:
        >>> dataset = AVSS("AVSS", split="train", subsets=["v2"], size=224)  # doctest: +SKIP
        >>> dataset.num_classes, dataset[0].masks.shape  # doctest: +SKIP
        (71, torch.Size([10, 224, 224]))
    """

    num_classes = 71
    table = "metadata.csv"
    columns = ("split", "label")
    id_column = "uid"

    def __init__(
        self,
        root: str | Path,
        split: str | None = "train",
        ids: Sequence[str] | str | Path | None = None,
        *,
        subsets: Sequence[str] = ("v1s", "v1m", "v2"),
        labels: Labels = "rgb",
        unknown_colours: UnknownColours = "error",
        pad_to: int | None = None,
        **options: Any,
    ) -> None:
        if not subsets or isinstance(subsets, str) or not set(subsets) <= set(NUM_FRAMES):
            raise DatasetError(f"Expected `subsets` as a list of v1s, v1m and v2, got {subsets!r}.")
        if labels not in get_args(Labels) or unknown_colours not in get_args(UnknownColours):
            raise DatasetError(
                "Expected labels='rgb' or 'semantic' and unknown_colours='error' or 'warn', got "
                f"{labels!r} and {unknown_colours!r}."
            )
        self.subsets, self.labels, self.pad_to = tuple(subsets), labels, pad_to
        self.classes = _class_names(Path(root) / "label2idx.json")
        self.num_classes = len(self.classes)
        if labels == "rgb":
            self._decode = partial(
                colour_labels, num_classes=self.num_classes, unknown=unknown_colours
            )
        else:
            self._decode = partial(index_labels, num_classes=self.num_classes)
        super().__init__(root, split, ids, **options)

    def _kept(self, rows: list[Row]) -> list[Row]:
        unknown = [row for row in rows if row.values["label"] not in NUM_FRAMES]
        if unknown:
            raise DatasetError(
                f"{self.root / self.table}, line {unknown[0].line}: expected v1s, v1m or v2 in "
                f"column 'label', got {unknown[0].values['label']!r}."
            )
        kept = [row for row in rows if row.values["label"] in self.subsets]
        if not kept:
            raise DatasetError(
                f"{self.root / self.table} lists no clips of {', '.join(self.subsets)}. Name other "
                "`subsets`."
            )
        return kept

    def __getitem__(self, index: int) -> Sample:
        """Read one clip, padded if `pad_to` is set."""
        sample = super().__getitem__(index)
        return sample if self.pad_to is None else sample.padded(self.pad_to)

    def truth(self, index: int) -> Truth:
        """Read only the truth of a clip; its masks are class labels."""
        masks, labelled = self.masks(index)
        return Truth(masks, labelled, masks, self.classes)

    def frame_files(self, row: Row) -> list[Path]:
        """Return `<label>/<uid>/frames/0..4.jpg`, or 0..9 in v2."""
        folder = self._folder(row) / "frames"
        return [folder / f"{i}.jpg" for i in range(NUM_FRAMES[row.values["label"]])]

    def mask_files(self, row: Row) -> list[Path]:
        """Return `<label>/<uid>/labels_rgb/*.png`; only the first one in v1s training."""
        folder = self._folder(row) / f"labels_{self.labels}"
        first_only = row.values["label"] == "v1s" and row.values["split"] == "train"
        num_labelled = 1 if first_only else NUM_FRAMES[row.values["label"]]
        return [folder / f"{i}.png" for i in range(num_labelled)]

    def wav_file(self, row: Row) -> Path:
        """Return `<label>/<uid>/audio.wav`."""
        return self._folder(row) / "audio.wav"

    def _folder(self, row: Row) -> Path:
        return self.root / row.values["label"] / row.id

    def _read_masks(self, paths: Sequence[Path]) -> Tensor:
        return read_masks(paths, self._decode, self.size, self.resize)

    def _fitted_log_mel(self, examples: Tensor, num_frames: int) -> Tensor:
        """Pad with zeros where the audio is short, as AVSS does (0 is louder than silence)."""
        missing = max(0, num_frames - len(examples))
        return functional.pad(examples[:num_frames], (0, 0, 0, 0, 0, 0, 0, missing))


def _class_names(path: Path) -> tuple[str, ...]:
    try:
        numbers = json.loads(read_text(path, DatasetError))
    except FileNotFoundError as error:
        raise DatasetError(
            f"There is no {path}, which lists the classes. Give the folder of AVSS that holds it."
        ) from error
    except DatasetError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"{path} cannot be read as JSON ({error}). Download it again."
        ) from error
    whole = isinstance(numbers, dict) and all(type(n) is int for n in numbers.values())
    if not whole or sorted(numbers.values()) != list(range(len(numbers))) or len(numbers) < 2:
        raise DatasetError(
            f"Expected classes numbered 0, 1, 2 ... in {path}, 0 the background. Download it again."
        )
    return tuple(sorted(numbers, key=numbers.__getitem__))
