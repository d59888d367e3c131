"""Groups of objects, for more objects than the bank has identities."""

import torch
from einops import rearrange, repeat
from torch import Tensor

from coprop_plugin.propagation.geometry import IGNORE


def num_groups(num_objects: int, size: int) -> int:
    """Return the number of groups of at most `size` objects, at least 1."""
    return max(-(-num_objects // size), 1)


def for_groups(x: Tensor, groups: int) -> Tensor:
    """Repeat a tensor for every group: [B, ...] becomes [(B groups), ...]."""
    return x if groups == 1 else repeat(x, "b ... -> (b groups) ...", groups=groups)


def split_into_groups(masks: Tensor, num_objects: int, size: int) -> Tensor:
    """Number the objects of each group from 1; the others are its background.

    Args:
        masks: Object ids `[B, H, W]`.
        num_objects: n. Ids above it become `IGNORE` in every group.
        size: Objects in a group.

    Returns:
        `[(B groups), H, W]`.

    Example:
        >>> split_into_groups(torch.tensor([[[0, 2, 3]]]), num_objects=3, size=2).tolist()
        [[[0, 2, 0]], [[0, 0, 1]]]
    """
    groups = num_groups(num_objects, size)
    if groups == 1:
        return masks
    firsts = torch.arange(groups, device=masks.device) * size
    own = masks[:, None] - rearrange(firsts, "groups -> groups 1 1")
    own = own.where((own > 0) & (own <= size), 0)
    own = own.where(masks[:, None] <= num_objects, IGNORE)
    return rearrange(own, "b groups h w -> (b groups) h w")


def merge_groups(logits: Tensor, num_objects: int, size: int) -> Tensor:
    """Merge the logits of groups as AOT does.

    Softmax in each group; backgrounds are multiplied, objects concatenated; then log-odds of
    probabilities kept 1e-5 from 0 and 1. They sum to 1 only if there is one group, whose logits are
    unchanged.

    Args:
        logits: `[(B groups), 1 + identities, H, W]`.
        num_objects: n.
        size: Objects in a group.

    Returns:
        `[B, 1 + n, H, W]`.
    """
    groups = num_groups(num_objects, size)
    if groups == 1:
        return logits[:, : 1 + num_objects]
    logits = rearrange(logits, "(b groups) o h w -> groups b o h w", groups=groups)
    sizes = [size] * (groups - 1) + [num_objects - size * (groups - 1)]
    probs = [x[:, : 1 + n].softmax(1) for x, n in zip(logits, sizes, strict=True)]
    background = torch.stack([p[:, :1] for p in probs]).prod(0)
    merged = torch.cat([background, *(p[:, 1:] for p in probs)], dim=1)
    return merged.clamp(1e-5, 1 - 1e-5).logit()
