"""Resizing of pictures and of logits."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def resized(pictures: Tensor, size: Sequence[int]) -> Tensor:
    """Resize pictures or logits `[B, C, H, W]` bilinearly, with antialiasing when shrinking.

    B may be 0.

    Example:
        >>> resized(Tensor(1, 3, 4, 6).bfloat16(), (2, 3)).dtype
        torch.bfloat16
    """
    height, width = size
    if pictures.shape[-2:] == (height, width) or len(pictures) == 0:
        return pictures.reshape(*pictures.shape[:2], height, width)
    shrinks = pictures.shape[-2] > height or pictures.shape[-1] > width
    # CPUs cannot antialias in shorter floats.
    exact = pictures.float() if pictures.dtype.itemsize < 4 else pictures
    smooth = F.interpolate(
        exact, (height, width), mode="bilinear", align_corners=False, antialias=shrinks
    )
    return smooth.to(pictures.dtype)
