"""One clip of a data set with its truth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from coprop_plugin.benchmark.datasets.clip_truth import Truth
from coprop_plugin.errors import DatasetError
from coprop_plugin.types import Clip, ControlPoints

AudioCondition = Literal["original", "silence", "noise", "off_screen"]
"""The audio of a clip: its own, or AVSBench-Robust's; see `benchmark.robust`."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One clip of a data set with its truth.

    Args:
        id: Its name in the data set.
        clip: Frames and audio, with `clip.log_mel` unless the data set leaves log-mels out.
        masks: `[T, H, W]` int64, 0 the silent background; 1, or class numbers if semantic.
        labelled: `[T]` bool: frames whose mask is known; in the others `masks` is 0 without
            meaning. S4 and AVSS's v1s label only the first frame in training.
        num_classes: 1 for binary masks, else C with the background.
        category: What sounds, if the data set has one label for the whole clip.
        split: `"train"`, `"val"` or `"test"`.
        control_points: Where the set of true classes changes (appendix A.1); None if not every
            frame is labelled. With binary masks, where sound begins and ends.
        real: `[T]` bool: frames that are not padding; by default all.
        labels: `[T, H, W]` class numbers in the labelled frames, where the masks are binary and
            AVSS's labels are known; the masks themselves if they are semantic; else None.
        class_names: Names of the numbers in `labels`, the background's first.
        silent_objects: From a time in seconds to masks `[H, W]` of class ids, one for each visible
            object that does not sound then; None if they are not known.
        audio: Whether the audio is the clip's own, or what it was replaced by.

    Raises:
        DatasetError: If masks and clip differ in length or size.

    Example:
        >>> clip = Clip(torch.rand(5, 3, 8, 8), torch.zeros(80_000))
        >>> sample = Sample("a", clip, torch.zeros(5, 8, 8).long(), torch.ones(5).bool())
        >>> sample.num_frames, sample.at(range(1, 3)).num_frames
        (5, 2)
    """

    id: str
    clip: Clip
    masks: Tensor = field(repr=False)
    labelled: Tensor = field(repr=False)
    num_classes: int = 1
    category: str | None = None
    split: str = ""
    control_points: ControlPoints | None = None
    real: Tensor = field(default_factory=lambda: torch.ones(0, dtype=torch.bool), repr=False)
    labels: Tensor | None = field(default=None, repr=False)
    class_names: tuple[str, ...] = field(default=(), repr=False)
    silent_objects: Callable[[float], Sequence[Tensor]] | None = field(default=None, repr=False)
    audio: AudioCondition = "original"

    def __post_init__(self) -> None:
        if self.masks.shape != (self.clip.num_frames, *self.clip.size):
            raise DatasetError(
                f"{self.id}: masks of shape {list(self.masks.shape)} for {self.clip!r}. If frames "
                "and masks differ in size on disk, give the data set a `size`."
            )
        if self.real is None or not len(self.real):
            object.__setattr__(self, "real", torch.ones(self.num_frames, dtype=torch.bool))

    @property
    def num_frames(self) -> int:
        """Number of frames, T."""
        return self.clip.num_frames

    @property
    def categories(self) -> tuple[str, ...] | None:
        """Names of what sounds in the labelled frames; None if they are not known."""
        labels = self.labels if self.class_names else None
        return Truth(self.masks, self.labelled, labels, self.class_names, self.category).categories

    def at(self, frames: range) -> "Sample":
        """Return a run of frames, with the audio of the whole clip.

        Raises:
            ClipError: If it is empty or has gaps.
        """
        rows = slice(frames.start, frames.stop, frames.step)
        points = self.control_points
        if points is not None:
            flags = points.flags[rows].clone()
            flags[:1] = True
            points = replace(points, flags=flags, silent=None, starts_s=None, log={})
        return replace(
            self,
            clip=self.clip[rows],
            masks=self.masks[rows],
            labelled=self.labelled[rows],
            real=self.real[rows],
            control_points=points,
            labels=None if self.labels is None else self.labels[rows],
        )

    def padded(self, num_frames: int = 10) -> "Sample":
        """Return the sample padded with black, silent, unlabelled frames.

        AVSBench pads AVSS clips of 5 frames like this to batch them with those of 10. `real` is
        its `vid_temporal_mask_flag`, `labelled` its `gt_temporal_mask_flag`; upstream pads after
        normalisation, so that its padding is grey.

        Args:
            num_frames: Length to pad to; longer samples stay as they are.
        """
        missing = num_frames - self.num_frames
        if missing <= 0:
            return self
        clip = self.clip
        seconds = torch.arange(1, missing + 1, dtype=torch.float64)
        log_mel, embedding = clip.log_mel, clip.audio_embedding
        clip = replace(
            clip,
            frames=_with_zeros(clip.frames, missing),
            times=torch.cat([clip.times, clip.times[-1] + seconds]),
            log_mel=None if log_mel is None else _with_zeros(log_mel, missing),
            audio_embedding=None if embedding is None else _with_zeros(embedding, missing),
        )
        points = self.control_points
        if points is not None:
            flags = _with_zeros(points.flags, missing)
            points = replace(points, flags=flags, silent=None, starts_s=None, log={})
        return replace(
            self,
            clip=clip,
            masks=_with_zeros(self.masks, missing),
            labelled=_with_zeros(self.labelled, missing),
            real=_with_zeros(self.real, missing),
            control_points=points,
            labels=None if self.labels is None else _with_zeros(self.labels, missing),
        )


class Samples(Protocol):
    """Any number of samples by index: a data set, or a list."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, index: int, /) -> Sample:
        """Return one of them."""
        ...


def _with_zeros(rows: Tensor, missing: int) -> Tensor:
    return functional.pad(rows, (0, 0) * (rows.ndim - 1) + (0, missing))
