"""J and F of binary masks, exactly as AVSBench computes them."""

import torch
from torch import Tensor

from coprop_plugin.benchmark.metrics.checks import checked_probs
from coprop_plugin.types import jaccard

NUM_THRESHOLDS = 255
BETA2 = 0.3
"""beta squared of the F-measure: precision weighs more than recall."""


def frame_ious(probs: Tensor, truth: Tensor) -> Tensor:
    """Compute the Jaccard index of every frame, as AVSBench's `mask_iou` does.

    A pixel is predicted if its probability is strictly above 0.5. If the truth of a frame is
    empty, its score is the share of pixels that are predicted empty.

    Args:
        probs: `[..., H, W]`, probability that a pixel sounds, float in [0, 1].
        truth: `[..., H, W]`, not 0 where it sounds.

    Returns:
        `[...]` float64 in [0, 1].

    Raises:
        MetricError: If the shapes differ, or the probabilities leave [0, 1].

    Example:
        >>> frame_ious(torch.tensor([[[0.9, 0.9, 0.5, 0.1]]]), torch.tensor([[[1, 0, 1, 0]]]))
        tensor([0.3333], dtype=torch.float64)
    """
    probs, truth = checked_probs(probs, truth)
    return jaccard(probs > 0.5, truth)


def precision_recall(probs: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Compute precision and recall of every frame at 255 thresholds.

    Thresholds run from 0 to 1, both included, in equal steps; a pixel is predicted if its
    probability is at or above the threshold, so at threshold 0 every pixel is.

    Args:
        probs: `[..., H, W]`, float in [0, 1].
        truth: `[..., H, W]`, not 0 where it sounds.

    Returns:
        Precision and recall, both `[..., 255]` float64; 0 where nothing is predicted, and where
        nothing is true.

    Raises:
        MetricError: If the shapes differ, or the probabilities leave [0, 1].

    Example:
        >>> precision, recall = precision_recall(torch.rand(5, 8, 8), torch.ones(5, 8, 8))
        >>> precision.shape, recall[:, 0].tolist()
        (torch.Size([5, 255]), [1.0, 1.0, 1.0, 1.0, 1.0])
    """
    probs, truth = checked_probs(probs, truth)
    thresholds = torch.linspace(0, 1, NUM_THRESHOLDS).to(probs.device)
    hit_rows, predicted_rows = [], []
    for frame_probs, frame_truth in zip(probs.flatten(0, -3), truth.flatten(0, -3), strict=True):
        # How many thresholds a pixel reaches: one pass instead of one comparison per threshold.
        reached = torch.bucketize(frame_probs.flatten(), thresholds, right=True)
        predicted_rows.append(_at_or_above(reached))
        hit_rows.append(_at_or_above(reached[frame_truth.flatten()]))
    shape = (*probs.shape[:-2], NUM_THRESHOLDS)
    hits = torch.stack(hit_rows).reshape(shape).double()
    predicted = torch.stack(predicted_rows).reshape(shape).double()
    num_true = truth.flatten(-2).sum(-1, keepdim=True).double()
    return hits / (predicted + 1e-20), hits / (num_true + 1e-20)


def _at_or_above(reached: Tensor) -> Tensor:
    """Count the pixels at or above each threshold: `[255]`."""
    counts = torch.bincount(reached, minlength=NUM_THRESHOLDS + 1)
    return counts.flip(0).cumsum(0).flip(0)[1:]


def f_curves(probs: Tensor, truth: Tensor) -> Tensor:
    """Compute F with beta^2 = 0.3 of every frame at 255 thresholds: `[..., 255]` float64.

    Args and errors are those of `precision_recall`. Frames with an empty truth get zeros; AVSBench
    leaves them out of every mean.

    Example:
        >>> f_curves(torch.rand(5, 8, 8), torch.ones(5, 8, 8)).shape
        torch.Size([5, 255])
    """
    return f_score(*precision_recall(probs, truth))


def f_score(precision: Tensor, recall: Tensor) -> Tensor:
    """Combine precision and recall to F with beta^2 = 0.3; 0 where both are 0."""
    score = (1 + BETA2) * precision * recall / (BETA2 * precision + recall)
    return score.nan_to_num(0.0)


def mask_iou(probs: Tensor, truth: Tensor) -> float:
    """Compute J of one batch: the mean of `frame_ious` over its frames.

    AVSBench's M_J of a data set is the unweighted mean of this over batches; we use one clip a
    batch, so that it does not depend on the loader.

    Example:
        >>> mask_iou(torch.zeros(5, 8, 8), torch.zeros(5, 8, 8))
        1.0
    """
    return float(frame_ious(probs, truth).mean())


def f_measure(probs: Tensor, truth: Tensor) -> float:
    """Compute F of one batch, as AVSBench's `Eval_Fmeasure` does: the best point of the mean curve.

    Frames with an empty truth are left out. Quirks, kept: a batch of only such frames scores 0.0
    regardless of the prediction; as threshold 0 accepts every pixel, a frame with foreground share
    q never scores below 1.3 q / (0.3 q + 1); the mean over batches depends on the batch size.

    Example:
        >>> f_measure(torch.zeros(5, 8, 8), torch.zeros(5, 8, 8))
        0.0
    """
    curves = f_curves(probs, truth)[torch.as_tensor(truth).flatten(-2).ne(0).any(-1)]
    return float(curves.mean(0).max()) if len(curves) else 0.0
