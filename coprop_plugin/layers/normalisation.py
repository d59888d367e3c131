"""ImageNet's mean and standard deviation, by which every image network here normalises."""

from functools import lru_cache

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
    return (frames - _like(frames, IMAGENET_MEAN)) / _like(frames, IMAGENET_STD)


def denormalise(frames: Tensor) -> Tensor:
    """Undo `normalise`; returns RGB `[N, 3, H, W]` float32, clamped to [0, 1].

    Example:
        >>> frames = torch.rand(1, 3, 2, 2)
        >>> torch.allclose(denormalise(normalise(frames)), frames, atol=1e-6)
        True
    """
    frames = frames.float()
    return (frames * _like(frames, IMAGENET_STD) + _like(frames, IMAGENET_MEAN)).clamp(0, 1)


def _like(frames: Tensor, values: tuple[float, ...]) -> Tensor:
    return _column(values, frames.dtype, frames.device)


# Made once: a GPU waits for numbers that come from Python.
@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _column(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return rearrange(torch.tensor(values, dtype=dtype, device=device), "c -> c 1 1")
