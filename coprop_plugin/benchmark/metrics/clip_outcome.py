"""The prediction for one clip beside its truth."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from coprop_plugin.benchmark.metrics.checks import checked_masks
from coprop_plugin.errors import MetricError
from coprop_plugin.types import ControlPoints, SegmentationResult, avsbench_times

_DEFAULT = torch.empty(0)
"""Stands for the default of a field that depends on the others."""


class Truth(Protocol):
    """The truth of one clip, as a `Sample` has it."""

    @property
    def masks(self) -> Tensor:
        """True masks, `[T, H, W]`."""
        ...

    @property
    def labelled(self) -> Tensor:
        """Which frames are labelled, `[T]` bool."""
        ...

    @property
    def control_points(self) -> ControlPoints | None:
        """True control points, if known."""
        ...

    @property
    def id(self) -> str:
        """Name of the clip."""
        ...


@dataclass(frozen=True, eq=False)
class Outcome:
    """The prediction for one clip beside its truth, the input of every score.

    Args:
        masks: `[T, H, W]`, predicted class numbers, 0 the silent background.
        truth: `[T, H, W]`, the true masks, in the same numbers.
        probs: `[T, C, H, W]`, soft prediction in [0, 1]; C = 1 for binary models, else one
            channel a class, or `[T, 1, H, W]`, the probability that any of them sounds, which is
            all that scores read of it. By default the hard masks.
        num_classes: C: 1 makes the score binary (every class counts as 1), 71 is AVSS.
        times: `[T]`, time stamps in seconds; by default AVSBench's, `t + 15/16`.
        labelled: `[T]`, true where the truth is known; by default everywhere.
        keyframes: `[T]`, true where the mask is the wrapped model's own; None if unknown.
        control_points: The predicted control points, if any.
        true_control_points: The true control points, if known.
        id: Name of the clip. Clips with the same name count once; clips without a name all count.

    Raises:
        MetricError: If shapes differ, or masks hold values that are not classes.

    Example:
        >>> outcome = Outcome(torch.ones(5, 8, 8).long(), torch.ones(5, 8, 8).long())
        >>> outcome.sounding_probs.shape, outcome.frame_sets()["all"].tolist()
        (torch.Size([5, 8, 8]), [True, True, True, True, True])
    """

    masks: Tensor
    truth: Tensor
    probs: Tensor | None = None
    num_classes: int = 1
    times: Tensor = _DEFAULT
    labelled: Tensor = _DEFAULT
    keyframes: Tensor | None = None
    control_points: ControlPoints | None = None
    true_control_points: ControlPoints | None = None
    id: str = ""

    def __post_init__(self) -> None:
        masks, truth = torch.as_tensor(self.masks).cpu(), torch.as_tensor(self.truth).cpu()
        if masks.ndim != 3 or len(masks) == 0:
            raise MetricError(
                f"Expected masks of one clip, [T, H, W] with T >= 1, got {list(masks.shape)}."
            )
        if self.num_classes == 1:
            masks, truth = (masks != 0).long(), (truth != 0).long()
        masks, truth, _ = checked_masks(masks, truth, self.num_classes)
        num_frames = len(masks)
        default_times = avsbench_times(num_frames)
        everywhere = torch.ones(num_frames, dtype=torch.bool)
        for name, value in (
            ("masks", masks),
            ("truth", truth),
            ("times", self._row("times", torch.float64, default_times)),
            ("labelled", self._row("labelled", torch.bool, everywhere)),
            ("keyframes", self._row("keyframes", torch.bool, None)),
        ):
            object.__setattr__(self, name, value)
        self._check_probs()

    def _row(self, name: str, dtype: torch.dtype, default: Tensor | None) -> Tensor | None:
        given = getattr(self, name)
        if given is None or given is _DEFAULT:
            return default
        row = torch.as_tensor(given).cpu().to(dtype)
        if row.shape != (len(self.masks),):
            raise MetricError(
                f"Expected `{name}` with one entry for each of {len(self.masks)} frames, got shape "
                f"{list(row.shape)}."
            )
        return row

    def _check_probs(self) -> None:
        if self.probs is None:
            return
        num_frames, height, width = self.masks.shape
        shapes = [(num_frames, c, height, width) for c in (self.num_classes, 1)]
        if self.probs.shape not in shapes:
            raise MetricError(
                f"Expected `probs` of shape [T, C, H, W] = {list(shapes[0])}, as masks and "
                f"num_classes have, or {list(shapes[1])}, got {list(self.probs.shape)}."
            )

    @classmethod
    def of(
        cls, result: SegmentationResult, sample: Truth, num_classes: int | None = None
    ) -> "Outcome":
        """Return the pipeline's result beside a sample of a data set.

        Args:
            result: The result.
            sample: A `Sample`, or any object with its truth.
            num_classes: C; by default that of the wrapped model.

        Raises:
            MetricError: If the two differ in size. Read the data set at the size at which the
                model is scored.
        """
        frames = result.frame_results
        return cls(
            result.masks,
            sample.masks,
            result.sounding_probs[:, None],
            frames[0].num_classes if num_classes is None else num_classes,
            result.clip.times,
            sample.labelled,
            torch.tensor([frame.is_keyframe for frame in frames]),
            result.control_points,
            sample.control_points,
            sample.id,
        )

    @classmethod
    def from_any(cls, given: "Outcome | Mapping[str, Any]") -> "Outcome":
        """Return an outcome as it is, or make one from a mapping of its fields.

        Raises:
            MetricError: If it is neither, or fields are missing or unknown.
        """
        if isinstance(given, Outcome):
            return given
        known = [field.name for field in fields(cls)]
        if not isinstance(given, Mapping) or not {"masks", "truth"} <= set(given) <= set(known):
            got = sorted(given) if isinstance(given, Mapping) else type(given).__name__
            raise MetricError(
                "Expected an Outcome, or a mapping with masks and truth and any of "
                f"{', '.join(known[2:])}, got {got}."
            )
        return cls(**given)

    @property
    def sounding_probs(self) -> Tensor:
        """Probability that a pixel sounds, of any class: `[T, H, W]` float32."""
        if self.probs is None:
            return (self.masks > 0).float()
        if self.probs.shape[1] == 1:
            return self.probs[:, 0].float().cpu()
        return self.probs[:, 1:].float().sum(1).clamp(0, 1).cpu()

    def frame_sets(self) -> dict[str, Tensor]:
        """Return the sets of frames to score: all labelled ones, key and normal ones (Table 6)."""
        sets = {"all": self.labelled}
        if self.keyframes is not None:
            sets["key"] = self.labelled & self.keyframes
            sets["normal"] = self.labelled & ~self.keyframes
        return sets
