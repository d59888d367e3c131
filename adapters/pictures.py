"""Preprocessing of frames for wrapped models, and resizing of their logits."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from coprop_plugin.layers.normalisation import normalise
from coprop_plugin.types import Clip

# AVSBench stores its frames squashed to this size; larger inputs are enlarged from it.
DATASET_SIZE = (224, 224)


Filter = Literal["bilinear", "bicubic"]
"""How pictures are resized."""


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    """Return height and width, given as a pair or as one side of a square.

    Example:
        >>> pair(224), pair([112, 160])
        ((224, 224), (112, 160))
    """
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def model_input(
    clip: Clip,
    indices: list[int],
    size: tuple[int, int],
    *,
    antialias: bool,
    device: torch.device | str = "cpu",
    dataset_size: tuple[int, int] | None = DATASET_SIZE,
    mode: Filter = "bilinear",
) -> Tensor:
    """Return frames as AVSBench's preprocessing prepares them: squashed, then normalised.

    The aspect ratio is lost, as upstream. For a model with more pixels than the files of its
    training set, frames are resized to the size of those first, as its training frames were.

    Args:
        clip: The clip.
        indices: Frame indices.
        size: Height and width of the model's input.
        antialias: Whether to shrink as PIL does (AVSS); False is OpenCV's way (S4, MS3).
        device: Device of the result.
        dataset_size: Height and width of the frames in the files of its training set; None if they
            have the size of their videos, as in AVSBench-semantic.
        mode: The filter that its data loader resizes with.

    Returns:
        `[K, 3, *size]` float32, normalised by the mean and deviation of ImageNet.
    """
    frames = clip.rgb(indices).to(device)
    if frames.shape[-2:] != size:
        if dataset_size and min(size) > min(dataset_size):
            frames = _resize(frames, dataset_size, antialias, mode)
        frames = _resize(frames, size, antialias, mode)
    return normalise(frames.clamp(0, 1))


def _resize(
    pictures: Tensor, size: Sequence[int], antialias: bool, mode: Filter = "bilinear"
) -> Tensor:
    if tuple(pictures.shape[-2:]) == tuple(size) or len(pictures) == 0:
        return pictures.reshape(*pictures.shape[:2], *size)
    return interpolate(pictures, tuple(size), mode=mode, align_corners=False, antialias=antialias)
