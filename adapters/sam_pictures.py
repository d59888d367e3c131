"""Frames as Segment Anything takes them: their longer side resized, padded to a square."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from coprop_plugin.layers.normalisation import denormalise, normalise
from coprop_plugin.types import Clip


def sam_size(size: Sequence[int], side: int) -> tuple[int, int]:
    """Return height and width within the square, without the padding.

    Example:
        >>> sam_size((360, 640), 1024)
        (576, 1024)
    """
    height, width = (int(extent * side / max(size) + 0.5) for extent in size)
    return height, width


def sam_input(clip: Clip, indices: list[int], side: int, device: torch.device) -> Tensor:
    """Return frames `[K, 3, side, side]`, normalised, their channels blue, green, red.

    Models that read their training frames with OpenCV were trained on that order.

    Args:
        clip: The clip.
        indices: Frame indices.
        side: Side of the model's input.
        device: Device of the result.
    """
    frames = clip.rgb(indices).to(device)
    height, width = sam_size(clip.size, side)
    if (height, width) != tuple(clip.size):
        frames = interpolate(frames, (height, width), mode="bilinear", antialias=True)
    return pad(normalise(frames.clamp(0, 1).flip(1)), (0, side - width, 0, side - height))


def undo_sam_input(pictures: Tensor, size: Sequence[int]) -> Tensor:
    """Return RGB frames `[K, 3, *size]` in [0, 1], of what `sam_input` returns for such a clip."""
    height, width = sam_size(size, pictures.shape[-1])
    frames = denormalise(pictures[..., :height, :width].flip(1)).clamp(0, 1)
    return interpolate(frames, tuple(size), mode="bilinear", antialias=True)
