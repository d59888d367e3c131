"""A guide: another propagator, whose prediction the decoder weighs per pixel and corrects.

Optical flow keeps edges sharp from frame to frame, but cannot follow objects that are covered, come
back or stop sounding; attention to remembered frames is the other way round. The decoder gets the
guide's prediction as input, and predicts for each pixel how far to trust it:

    logits = decoder + sigmoid(trust) * guide.

This is not in the paper.
"""

import torch
from einops import reduce
from torch import Tensor

from coprop_plugin.propagation.geometry import resize_features
from coprop_plugin.propagation.groups import for_groups

LEAST_LOGIT = -5.0
"""Lower bound of a guide's log-probabilities: a probability of 0.7 %."""


def bounded(logits: Tensor) -> Tensor:
    """Return a guide's logits [B, 1 + n, H, W] as log-probabilities with a lower bound."""
    return logits.float().log_softmax(1).clamp_min(LEAST_LOGIT)


def append_guide(finest: Tensor, guided: Tensor, groups: int) -> Tensor:
    """Append the guide's objects to the finest map of the encoder.

    Args:
        finest: `[(B groups), C, h, w]`.
        guided: `[B, 1 + n, H, W]`, from `bounded`.
        groups: See `for_groups`.

    Returns:
        `[(B groups), C + 1, h, w]`.
    """
    objects = resize_features(1 - guided[:, :1].exp(), finest.shape[-2:])
    return torch.cat([finest, for_groups(objects, groups).to(finest)], dim=1)


def trust(decoded: Tensor, groups: int) -> Tensor:
    """Return the weight of the guide, `[B, 1, H, W]` in 0..1: the decoder's last channel."""
    last = reduce(decoded[:, -1:], "(b groups) one h w -> b one h w", "mean", groups=groups)
    return last.sigmoid()
