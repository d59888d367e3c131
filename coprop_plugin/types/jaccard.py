"""Jaccard index of binary masks, as AVSBench computes it."""

import torch
from torch import Tensor


def jaccard(predicted: Tensor, truth: Tensor) -> Tensor:
    """Compute the Jaccard index (IoU) of every frame.

    Where the truth of a frame is empty, its score is the share of pixels that are predicted empty.

    Args:
        predicted: `[..., H, W]` bool.
        truth: `[..., H, W]` bool, of the same shape.

    Returns:
        `[...]` float64 in [0, 1].

    Example:
        >>> jaccard(torch.tensor([[[True, True, False]]]), torch.tensor([[[True, False, True]]]))
        tensor([0.3333], dtype=torch.float64)
    """
    both = (predicted & truth).flatten(-2).sum(-1)
    either = (predicted | truth).flatten(-2).sum(-1)
    iou = both.double() / (either + 1e-7)
    empty_share = 1 - either.double() / (truth.shape[-1] * truth.shape[-2])
    return torch.where(truth.flatten(-2).any(-1), iou, empty_share)
