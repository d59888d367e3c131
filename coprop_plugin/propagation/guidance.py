"""A guide: another propagator, whose answer the decoder sees, trusts here and corrects there.

Optical flow keeps edges sharp from frame to frame, and knows nothing of what is covered, comes back
or falls silent; attention to remembered frames is the other way round. The decoder is shown where
the guide believes the objects to be, and says for each pixel how far that is to be trusted:

    logits = decoder + sigmoid(trust) * guide.

This is not in the paper.
"""

import torch
from einops import reduce
from torch import Tensor

from coprop_plugin.propagation.geometry import resize_features
from coprop_plugin.propagation.groups import for_groups

LEAST_LOGIT = -5.0
"""What a guide says against an object, at most: a probability of 0.7 %."""


def bounded(logits: Tensor) -> Tensor:
    """Return a guide's logits [B, 1 + n, H, W] as log-probabilities that can be outvoted."""
    return logits.float().log_softmax(1).clamp_min(LEAST_LOGIT)


def shown(finest: Tensor, guided: Tensor, groups: int) -> Tensor:
    """Put the guide's objects beside the finest map of the encoder.

    Args:
        finest: `[(B groups), C, h, w]`.
        guided: `[B, 1 + n, H, W]`, of `bounded`.
        groups: See `for_groups`.

    Returns:
        `[(B groups), C + 1, h, w]`.
    """
    objects = resize_features(1 - guided[:, :1].exp(), finest.shape[-2:])
    return torch.cat([finest, for_groups(objects, groups).to(finest)], dim=1)


def trust(decoded: Tensor, groups: int) -> Tensor:
    """Return how far to trust the guide, `[B, 1, H, W]` in 0..1: the decoder's last channel."""
    last = reduce(decoded[:, -1:], "(b groups) one h w -> b one h w", "mean", groups=groups)
    return last.sigmoid()
