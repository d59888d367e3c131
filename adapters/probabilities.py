"""Probabilities in the place of logits, told by their numbers."""

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
