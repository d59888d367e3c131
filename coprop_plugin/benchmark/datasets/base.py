"""Base class of AVSBench's data sets."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from coprop_plugin.audio.log_mel import log_mel_examples
from coprop_plugin.benchmark.datasets.clip_truth import Truth
from coprop_plugin.benchmark.datasets.listing import Row, of_ids, of_split, read_rows
from coprop_plugin.benchmark.datasets.log_mel_file import read_log_mel
from coprop_plugin.benchmark.datasets.read_pictures import Resize, read_frames
from coprop_plugin.benchmark.datasets.sample import Sample
from coprop_plugin.benchmark.datasets.words_file import LABELS, Words, read_words
from coprop_plugin.errors import DatasetError, DatasetWarning
from coprop_plugin.media import ROWS_IN_MEMORY, read_waveform
from coprop_plugin.types import Clip

LogMel = Literal["wav", "pkl", "none"]
"""Log-mels of a clip: computed from its audio, AVSBench's own files, or none."""


class AVSDataset(Dataset[Sample], ABC):
    """Clips with audio and true masks in AVSBench's layout; one `Sample` each.

    Only the table is read when it is built; `missing()` lists the files that do not exist.

    Args:
        root: Folder of the data set, which holds the table.
        split: `"train"`, `"val"`, `"test"`, or None for all.
        ids: Only these clips, in this order: names, or a file with one name a line.
        meta: The table, if it is not the one in `root`.
        size: Side in pixels to which frames and masks are resized; None keeps them as they are.
            224 is AVSBench's, 512 AVSegFormer's on S4 and MS3.
        resize: How to resize, see `read_pictures.fitted`.
        words: Words of the clips, for networks that are guided by text: `"labels"`, the categories
            of the truth; or a file, see `read_words`. None: they have none.
        log_mel: `"wav"` computes log-mels from the audio; `"pkl"` reads AVSBench's own, without
            unpickling (S4 and MS3); `"none"` leaves them out.

    Raises:
        DatasetError: If the table is missing, empty or malformed; if it has names that lead out of
            the folder; if the split or an id is not in it.
    """

    num_classes = 1
    classes: tuple[str, ...] = ("background", "sounding")
    num_frames = 5
    table = ""
    columns: tuple[str, ...] = ("split",)
    id_column: str | None = None
    in_memory = ROWS_IN_MEMORY

    def __init__(
        self,
        root: str | Path,
        split: str | None = "train",
        ids: Sequence[str] | str | Path | None = None,
        *,
        meta: str | Path | None = None,
        size: int | None = None,
        resize: Resize = "squash",
        log_mel: LogMel = "wav",
        words: str | Path | None = None,
    ) -> None:
        self.root = Path(root)
        self.split = split
        self._set_options(size, resize, log_mel, words)
        self.path = path = self.root / self.table if meta is None else Path(meta)
        rows = self._kept(read_rows(path, self.columns, self.id_column))
        self.rows = of_ids(of_split(rows, split, path), ids, path)

    def _set_options(
        self,
        size: int | None = None,
        resize: Resize = "squash",
        log_mel: LogMel = "wav",
        words: str | Path | None = None,
    ) -> None:
        if size is not None and (not isinstance(size, int) or size < 1):
            raise DatasetError(f"Expected `size` in pixels, e.g. 224, or None, got {size!r}.")
        if resize not in get_args(Resize):
            raise DatasetError(f"Expected resize='squash' or 'crop', got {resize!r}.")
        if log_mel not in get_args(LogMel):
            raise DatasetError(f"Expected log_mel='wav', 'pkl' or 'none', got {log_mel!r}.")
        self.size, self.resize, self.log_mel = size, resize, log_mel
        self.words: Words | None = None if words in (None, LABELS) else read_words(str(words))
        self.words_from_labels = words == LABELS

    def _kept(self, rows: list[Row]) -> list[Row]:
        return rows

    @property
    def ids(self) -> list[str]:
        """Names of the clips, in order."""
        return [row.id for row in self.rows]

    @property
    def metainfo(self) -> dict[str, Any]:
        """The data set's classes, which mmengine passes to metrics and visualizers."""
        return {"classes": self.classes, "num_classes": self.num_classes}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        """Read one clip.

        Raises:
            DatasetError: If one of its files is missing or unusable; the message names it.
            MediaError: If its audio cannot be read.
        """
        row, truth = self.rows[index], self.truth(index)
        return Sample(
            id=row.id,
            clip=self.clip(index),
            masks=truth.masks,
            labelled=truth.labelled,
            num_classes=self.num_classes,
            category=truth.category,
            split=row.values["split"],
            control_points=truth.control_points,
            labels=truth.labels,
            class_names=truth.classes,
        )

    def clip(self, index: int) -> Clip:
        """Read only frames and audio of a clip.

        Raises:
            DatasetError: If one of its files is missing or unusable.
            MediaError: If its audio cannot be read.
        """
        row = self.rows[index]
        files = self.frame_files(row)
        clip = self._clip(row, read_frames(files, self.size, self.resize, self.in_memory))
        return replace(clip, words=self._words(index))

    def _words(self, index: int) -> tuple[str, ...] | None:
        name = self.rows[index].id
        if self.words is not None and name not in self.words:
            raise DatasetError(
                f"There are no words for {name!r} among those of {len(self.words)} clips. Add it, "
                "with [] if nothing sounds."
            )
        if self.words is not None:
            return self.words[name]
        known = self.truth(index).categories if self.words_from_labels else None
        if self.words_from_labels and known is None:
            raise DatasetError(
                f"The labels do not name what sounds in {name!r}. Give `avss_root`, or a file of "
                "`words`."
            )
        return known

    def truth(self, index: int) -> Truth:
        """Read only the truth of a clip: its masks and what is known of their classes.

        Raises:
            DatasetError: If a mask or a label is missing or unusable.
        """
        masks, labelled = self.masks(index)
        return Truth(masks, labelled, category=self._category(self.rows[index]))

    def masks(self, index: int) -> tuple[Tensor, Tensor]:
        """Read only the true masks of a clip.

        Returns:
            `[T, H, W]` int64, and which frames are labelled, `[T]` bool; the others are 0.

        Raises:
            DatasetError: If a mask is missing or unusable.
        """
        row = self.rows[index]
        known = self._read_masks(self.mask_files(row))
        num_frames = len(self.frame_files(row))
        labelled = torch.arange(num_frames) < len(known)
        return functional.pad(known, (0, 0, 0, 0, 0, num_frames - len(known))), labelled

    def missing(self) -> list[Path]:
        """Return the files of all clips that do not exist."""
        return [path for row in self.rows for path in self.files(row) if not path.is_file()]

    def files(self, row: Row) -> list[Path]:
        """Return the files of a clip."""
        sound = self.log_mel_file(row) if self.log_mel == "pkl" else self.wav_file(row)
        return [*self.frame_files(row), *self.mask_files(row), *([sound] if sound else [])]

    @abstractmethod
    def frame_files(self, row: Row) -> list[Path]:
        """Return the image files of a clip, one a second."""

    @abstractmethod
    def mask_files(self, row: Row) -> list[Path]:
        """Return the mask files of a clip, one for each labelled frame."""

    @abstractmethod
    def wav_file(self, row: Row) -> Path:
        """Return the audio file of a clip."""

    def log_mel_file(self, row: Row) -> Path | None:
        """Return the file with AVSBench's log-mels of a clip, None if the data set has none."""
        return None

    @abstractmethod
    def _read_masks(self, paths: Sequence[Path]) -> Tensor: ...

    def _category(self, row: Row) -> str | None:
        return None

    def _clip(self, row: Row, frames: Tensor) -> Clip:
        wav = self.wav_file(row)
        log_mel = self._stored_log_mel(row) if self.log_mel == "pkl" else None
        if not wav.is_file():
            if log_mel is not None:
                return Clip(frames, sampling="avsbench", log_mel=log_mel, name=row.id)
            raise DatasetError(
                f"There is no {wav}, though the table lists its clip. Complete the data folder, or "
                "remove the clip from the table."
            )
        waveform, sample_rate = read_waveform(wav)
        if self.log_mel == "wav":
            log_mel = self._fitted_log_mel(log_mel_examples(waveform, sample_rate), len(frames))
        return Clip(
            frames,
            waveform,
            sample_rate,
            sampling="avsbench",
            log_mel=log_mel,
            source=wav,
            name=row.id,
        )

    def _stored_log_mel(self, row: Row) -> Tensor:
        path = self.log_mel_file(row)
        if path is None:
            raise DatasetError(
                f"{type(self).__name__} has no log-mel files. Use log_mel='wav' to compute them."
            )
        log_mel = read_log_mel(path)
        if len(log_mel) != self.num_frames:
            warnings.warn(
                f"{path} has {len(log_mel)} log-mel examples for {self.num_frames} frames: "
                "the last is repeated, or the rest dropped. log_mel='wav' computes them instead.",
                DatasetWarning,
                stacklevel=2,
            )
        return self._fitted_log_mel(log_mel, self.num_frames)

    def _fitted_log_mel(self, examples: Tensor, num_frames: int) -> Tensor:
        """Repeat the last example where the audio is short, as S4 and MS3 were prepared."""
        if len(examples) == 0:
            return examples.new_zeros(num_frames, *examples.shape[1:])
        return examples[torch.arange(num_frames).clamp_max(len(examples) - 1)]
