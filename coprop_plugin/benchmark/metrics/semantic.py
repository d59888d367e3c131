"""IoU and F per class for audio-visual semantic segmentation (AVSS)."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from coprop_plugin.benchmark.metrics.binary import f_score
from coprop_plugin.benchmark.metrics.checks import checked_masks


class ClassCounts(NamedTuple):
    """Pixels per frame and class: hits, predicted, true, each `[..., C]` int64."""

    hits: Tensor
    predicted: Tensor
    true: Tensor

    @property
    def union(self) -> Tensor:
        """Pixels that are predicted or true, `[..., C]`."""
        return self.predicted + self.true - self.hits


def class_counts(predicted: Tensor, truth: Tensor, num_classes: int | None = None) -> ClassCounts:
    """Count the pixels of every class in every frame.

    Args:
        predicted: `[..., H, W]`, class numbers, 0 the silent background.
        truth: `[..., H, W]`, the same.
        num_classes: C with the background; 71 for AVSS. By default as many as occur.

    Returns:
        Hits, predicted and true pixels, each `[..., C]`, C at least 2.

    Raises:
        MetricError: If the shapes differ, or a class is not below `num_classes`.

    Example:
        >>> counts = class_counts(torch.tensor([[[0, 1]]]), torch.tensor([[[1, 1]]]))
        >>> counts.hits.tolist(), counts.union.tolist()
        ([[0, 1]], [[1, 2]])
    """
    predicted, truth, num_classes = checked_masks(predicted, truth, num_classes)
    hits = torch.where(predicted == truth, truth, num_classes)
    return ClassCounts(
        _histogram(hits, num_classes + 1)[..., :num_classes],
        _histogram(predicted, num_classes),
        _histogram(truth, num_classes),
    )


def _histogram(masks: Tensor, num_values: int) -> Tensor:
    frames = masks.flatten(0, -3).flatten(1)
    offsets = torch.arange(len(frames), device=masks.device)[:, None] * num_values
    counts = torch.bincount((frames + offsets).flatten(), minlength=len(frames) * num_values)
    return counts.reshape(*masks.shape[:-2], num_values)


def class_scores(counts: ClassCounts) -> tuple[Tensor, Tensor, Tensor]:
    """Score every class in every frame.

    Args:
        counts: From `class_counts`.

    Returns:
        IoU and F (beta^2 = 0.3), both `[..., C]` float64, 0 for classes in neither mask; and
        whether the class is in one of them, `[..., C]` bool.

    Example:
        >>> counts = class_counts(torch.tensor([[[0, 1]]]), torch.tensor([[[1, 1]]]), 3)
        >>> iou, f, occurs = class_scores(counts)
        >>> iou.tolist(), occurs.tolist()
        ([[0.0, 0.5, 0.0]], [[True, True, False]])
    """
    hits, union = counts.hits.double(), counts.union
    precision, recall = hits / counts.predicted, hits / counts.true
    return hits / union.clamp_min(1), f_score(precision, recall), union > 0


def frame_miou(counts: ClassCounts) -> Tensor:
    """Compute AVSBench's mIoU of every frame: the mean of its IoUs above 0, `[...]` float64.

    Quirks, kept: a class that is missed entirely does not lower it, and a frame without any hit
    is NaN.
    """
    iou, _, _ = class_scores(counts)
    return iou.sum(-1) / (iou > 0).sum(-1)


def avsbench_scores(iou_sum: Tensor, f_sum: Tensor, num_frames: Tensor) -> dict[str, Any]:
    """Compute mIoU and F from sums over frames, as AVSBench's semantic evaluation does.

    Quirks, kept: a class is averaged over the frames where it occurs in prediction or truth, and
    the mean is over all classes, including those that never occur (as 0), so that a perfect
    prediction of 4 of 71 classes scores 0.056; "noBg" drops the last class, not the background.
    `mIoU_present` is what its log shows during evaluation: the mean over classes that occur.

    Args:
        iou_sum: `[C]`, the sum of IoUs over frames.
        f_sum: `[C]`, the sum of Fs over frames.
        num_frames: `[C]`, the frames in which a class occurs in prediction or truth.

    Returns:
        `mIoU`, `F`, `mIoU_noBg`, `F_noBg`, `mIoU_present`, and the lists `per_class`.

    Example:
        >>> one, two = torch.tensor([1.0, 0.0]), torch.tensor([2, 0])
        >>> scores = avsbench_scores(one, one, two)
        >>> scores["mIoU"], scores["mIoU_present"]
        (0.25, 0.5)
    """
    occurs = num_frames > 0
    iou = iou_sum.double() / num_frames.clamp_min(1)
    f = f_sum.double() / num_frames.clamp_min(1)
    return {
        "mIoU": float(iou.mean()),
        "F": float(f.mean()),
        "mIoU_noBg": float(iou[:-1].mean()),
        "F_noBg": float(f[:-1].mean()),
        "mIoU_present": float(iou[occurs].mean()) if bool(occurs.any()) else None,
        "per_class": {"IoU": iou.tolist(), "F": f.tolist()},
    }


def dataset_scores(counts: ClassCounts) -> dict[str, Any]:
    """Compute mIoU and F from pixel counts of a whole data set.

    IoU and F of a class are of all its pixels together, so that small frames weigh little; the
    mean is over the classes that occur in prediction or truth.

    Args:
        counts: Sums over frames, each `[C]`.

    Returns:
        `mIoU`, `F`, the same without the background as `mIoU_noBg`, `F_noBg` (here class 0), and
        the lists `per_class`; None for classes that do not occur and for means over no class.

    Example:
        >>> counts = class_counts(torch.tensor([[[0, 1]]]), torch.tensor([[[1, 1]]]), 3)
        >>> dataset_scores(ClassCounts(*(c.sum(0) for c in counts)))["per_class"]["IoU"]
        [0.0, 0.5, None]
    """
    iou, f, occurs = class_scores(counts)
    no_background = occurs.clone()
    no_background[0] = False
    return {
        "mIoU": _mean(iou[occurs]),
        "F": _mean(f[occurs]),
        "mIoU_noBg": _mean(iou[no_background]),
        "F_noBg": _mean(f[no_background]),
        "per_class": {"IoU": _listed(iou, occurs), "F": _listed(f, occurs)},
    }


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None


def _listed(values: Tensor, occurs: Tensor) -> list[float | None]:
    return [v if o else None for v, o in zip(values.tolist(), occurs.tolist(), strict=True)]
