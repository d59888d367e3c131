"""ImageNet's mean and standard deviation, by which every image network here normalises."""

import torch
from einops import rearrange
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def as_rgb(frames: Tensor) -> Tensor:
    """Return uint8 frames as float32 RGB in [0, 1]; float frames unchanged.

    Example:
        >>> as_rgb(torch.tensor([255], dtype=torch.uint8)).item()
        1.0
    """
    return frames.float().div_(255) if frames.dtype == torch.uint8 else frames


def normalise(frames: Tensor) -> Tensor:
    """Normalise RGB in [0, 1] `[N, 3, H, W]` by ImageNet's mean and standard deviation."""
    return (frames - _column(IMAGENET_MEAN, frames)) / _column(IMAGENET_STD, frames)


def denormalise(frames: Tensor) -> Tensor:
    """Undo `normalise`; returns RGB `[N, 3, H, W]` float32, clamped to [0, 1].

    Example:
        >>> frames = torch.rand(1, 3, 2, 2)
        >>> torch.allclose(denormalise(normalise(frames)), frames, atol=1e-6)
        True
    """
    frames = frames.float()
    return (frames * _column(IMAGENET_STD, frames) + _column(IMAGENET_MEAN, frames)).clamp(0, 1)


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    return rearrange(torch.tensor(values, dtype=like.dtype, device=like.device), "c -> c 1 1")
