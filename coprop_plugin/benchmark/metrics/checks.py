"""Checks of the inputs of all scores."""

import torch
from torch import Tensor

from coprop_plugin.errors import MetricError


def checked_probs(probs: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return probabilities `[..., H, W]` as float32 and the truth as bool, of one shape.

    Raises:
        MetricError: If they differ in shape, or the probabilities leave [0, 1].
    """
    probs, truth = torch.as_tensor(probs), torch.as_tensor(truth)
    _refuse_other_shapes(probs, truth)
    if not probs.is_floating_point():
        raise MetricError(
            f"Expected probabilities as float in [0, 1], got {probs.dtype}. For hard masks use "
            "`(masks > 0).float()`."
        )
    low, high = (float(probs.min()), float(probs.max())) if probs.numel() else (0.0, 1.0)
    if not (low >= 0 and high <= 1):
        raise MetricError(
            f"Expected probabilities in [0, 1] without NaN, got {low:.3g} to {high:.3g}. Apply the "
            "sigmoid to logits first."
        )
    # AVSBench compares in float32: a logit of 1e-9 has a probability of exactly 0.5 there.
    return probs.float(), truth.to(probs.device) != 0


def checked_masks(
    predicted: Tensor, truth: Tensor, num_classes: int | None = None
) -> tuple[Tensor, Tensor, int]:
    """Return masks `[..., H, W]` as int64, of one shape, and the number of classes.

    Raises:
        MetricError: If they differ in shape, are not whole numbers, or hold a class outside
            0..num_classes - 1.
    """
    predicted, truth = torch.as_tensor(predicted), torch.as_tensor(truth)
    _refuse_other_shapes(predicted, truth)
    for name, masks in (("predicted", predicted), ("true", truth)):
        if masks.is_floating_point() or masks.is_complex():
            raise MetricError(
                f"Expected {name} masks as class numbers, 0 the background, got {masks.dtype}. "
                "Take the argmax, or `probs > 0.5`, first."
            )
    predicted, truth = predicted.long(), truth.to(predicted.device).long()
    values = [int(v) for m in (predicted, truth) if m.numel() for v in (m.min(), m.max())] or [0]
    limit = max(values) + 1 if num_classes is None else max(num_classes, 2)
    if min(values) < 0 or max(values) >= limit:
        raise MetricError(
            f"Expected masks with classes 0..{limit - 1}, 0 the background, got "
            f"{min(values)}..{max(values)}. Binary masks hold 0 and 1: use `masks > 0` for masks "
            "of 0 and 255."
        )
    return predicted, truth, max(limit, 2)


def _refuse_other_shapes(predicted: Tensor, truth: Tensor) -> None:
    if predicted.shape != truth.shape or predicted.ndim < 2 or 0 in predicted.shape[-2:]:
        raise MetricError(
            "Expected prediction and truth of the same shape [..., H, W], got "
            f"{list(predicted.shape)} and {list(truth.shape)}. Resize one of them first."
        )
