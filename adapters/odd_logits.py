"""Probabilities in the place of logits, and transposed ones, told by their numbers and shape."""

from collections.abc import Sequence

import torch
from torch import Tensor


def advice_on_probabilities(logits: Tensor) -> str | None:
    """Return what to change if logits `[K, C, h, w]` look like the result of a sigmoid or softmax.

    Those of one class may also be logits of an untrained model.

    Example:
        >>> advice_on_probabilities(torch.tensor([-2.0, 3.0]).view(1, 1, 1, 2))
        >>> print(advice_on_probabilities(torch.tensor([0.1, 0.9]).view(1, 1, 1, 2)))
        All numbers lie between 0.10 and 0.90, as after a sigmoid, so every pixel counts as \
sounding. Return what comes before it, or `torch.logit(probabilities, eps=1e-6)`.
    """
    if not logits.numel():
        return None
    low, high = (float(bound) for bound in logits.aminmax())
    if not 0 <= low < high <= 1:
        return None
    name, effect = "sigmoid", "every pixel counts as sounding"
    inverse = "torch.logit(probabilities, eps=1e-6)"
    if logits.shape[1] > 1:
        sums = logits.float().sum(1)
        if not torch.allclose(sums, torch.ones_like(sums), atol=0.01):
            return None
        name, effect = "softmax", "all classes count as nearly equal"
        inverse = "probabilities.clamp_min(1e-6).log()"
    return (
        f"All numbers lie between {low:.2f} and {high:.2f}, as after a {name}, so {effect}. Return "
        f"what comes before it, or `{inverse}`."
    )


def advice_on_transposed(logits: Tensor, size: Sequence[int]) -> str | None:
    """Return what to change if logits `[K, C, h, w]` have the shape of frames on their side.

    Args:
        logits: At any size.
        size: Height and width of the frames.

    Example:
        >>> advice_on_transposed(torch.zeros(1, 1, 48, 64), (96, 128))
        >>> print(advice_on_transposed(torch.zeros(1, 1, 64, 48), (96, 128)))
        Got logits of 64 x 48 (height x width) for frames of 96 x 128: height and width seem to be \
swapped, and masks would be stretched to the frames. Return `logits.transpose(-1, -2)`; if it \
always returns this size, resize them to `frames.shape[-2:]` in the function.
    """
    (h, w), (height, width) = logits.shape[-2:], size
    # A stride rounds each side by up to a pixel. Nearly square frames cannot be told.
    swapped = abs(h * height - w * width) <= max(height, width)
    as_they_are = abs(h * width - w * height) <= max(height, width)
    if as_they_are or not swapped:
        return None
    return (
        f"Got logits of {h} x {w} (height x width) for frames of {height} x {width}: height and "
        "width seem to be swapped, and masks would be stretched to the frames. Return "
        "`logits.transpose(-1, -2)`; if it always returns this size, resize them to "
        "`frames.shape[-2:]` in the function."
    )
