"""Alignment of predicted objects with the truth, frame by frame, and false alarms in silence."""

from collections.abc import Sequence

import torch
from torch import Tensor

from coprop_plugin.benchmark.metrics.checks import checked_masks
from coprop_plugin.benchmark.metrics.semantic import class_counts
from coprop_plugin.errors import MetricError

ALIGNMENT_THRESHOLDS = (0.3, 0.5, 0.7)


def aligned_frames(
    predicted: Tensor,
    truth: Tensor,
    thresholds: Sequence[float] = ALIGNMENT_THRESHOLDS,
    num_classes: int | None = None,
) -> Tensor:
    """Tell for every frame whether the predicted objects align with the true ones (section 4.2).

    The paper's Alignment Rate is "the proportion of predicted video frames where the identified
    object aligns with the ground truth"; it does not define when an object aligns. Here: both
    masks are empty, or they hold the same set of classes and the IoU of each class reaches the
    threshold. For binary masks the set is "something sounds", so IoU alone decides.

    Args:
        predicted: `[..., H, W]`, class numbers, 0 the silent background.
        truth: `[..., H, W]`, the same.
        thresholds: IoUs in (0, 1]; we report 0.3, 0.5 and 0.7 side by side.
        num_classes: C with the background; by default as many as occur.

    Returns:
        `[len(thresholds), ...]` bool.

    Raises:
        MetricError: If the masks do not fit one another, or a threshold is not in (0, 1].

    Example:
        >>> aligned_frames(torch.tensor([[[0, 1, 1, 0]]]), torch.tensor([[[0, 1, 0, 0]]])).tolist()
        [[True], [True], [False]]
    """
    if not all(0 < threshold <= 1 for threshold in thresholds):
        raise MetricError(
            f"Expected `thresholds` as IoUs above 0 and at most 1, got {list(thresholds)}."
        )
    counts = class_counts(predicted, truth, num_classes)
    hits, union = counts.hits[..., 1:].double(), counts.union[..., 1:]
    iou = torch.where(union > 0, hits / union.clamp_min(1), 1.0)
    lowest = iou.min(-1).values
    same_set = ((counts.predicted[..., 1:] > 0) == (counts.true[..., 1:] > 0)).all(-1)
    return torch.stack([same_set & (lowest >= threshold) for threshold in thresholds])


def false_alarms(predicted: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the silent frames in which something is predicted.

    Args:
        predicted: `[..., H, W]`, class numbers, 0 the silent background.
        truth: `[..., H, W]`, the same.

    Returns:
        Which frames are silent in truth, which of them have a predicted pixel (both `[...]` bool),
        and the share of pixels predicted there (`[...]` float64, 0 in other frames).

    Raises:
        MetricError: If the masks do not fit one another.

    Example:
        >>> silent, alarm, area = false_alarms(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 0]]]))
        >>> silent.tolist(), alarm.tolist(), area.tolist()
        ([True], [True], [0.5])
    """
    predicted, truth, _ = checked_masks(predicted, truth)
    silent = ~truth.flatten(-2).ne(0).any(-1)
    area = predicted.flatten(-2).ne(0).double().mean(-1) * silent
    return silent, area > 0, area


def sounding_classes(
    masks: Tensor, num_classes: int | None = None, min_area: float = 0.0
) -> Tensor:
    """Tell which classes sound in which frame.

    Args:
        masks: `[T, H, W]`, class numbers, 0 the silent background.
        num_classes: C with the background; by default as many as occur.
        min_area: The share of a frame, in [0, 1], that a class must exceed to count.

    Returns:
        `[T, C - 1]` bool; column 0 is class 1.

    Raises:
        MetricError: If the masks are not whole numbers below `num_classes`.

    Example:
        >>> sounding_classes(torch.tensor([[[0, 2]], [[1, 1]]])).tolist()
        [[False, True], [True, False]]
    """
    counts = class_counts(masks, masks, num_classes).true[..., 1:]
    return counts.double() / (masks.shape[-1] * masks.shape[-2]) > min_area
