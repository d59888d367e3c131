"""Frames and their sound on the way into the Keyframe Processor."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.audio.log_mel import EXAMPLE_FRAMES, NUM_BANDS
from coprop_plugin.errors import KeyframeError


def check_input(frames: Tensor, log_mel: Tensor) -> None:
    """Refuse what is not frames `[B, 3, H, W]` and a log-mel example for each.

    Raises:
        KeyframeError: If a shape is another.
    """
    wanted = (len(frames), 1, EXAMPLE_FRAMES, NUM_BANDS)
    if frames.ndim != 4 or frames.shape[1] != 3 or tuple(log_mel.shape) != wanted:
        raise KeyframeError(
            f"Got frames of shape {list(frames.shape)} and log_mel {list(log_mel.shape)}; wanted "
            "[B, 3, H, W] and [B, 1, 96, 64], a log-mel example a frame. "
            "`coprop_plugin.audio.log_mel.clip_log_mel(clip)` makes the examples of a clip."
        )


def resized(pictures: Tensor, size: Sequence[int]) -> Tensor:
    """Resize pictures `[B, C, H, W]` bilinearly; averages where it shrinks them."""
    height, width = size
    if pictures.shape[-2:] == (height, width):
        return pictures
    shrinks = pictures.shape[-2] > height or pictures.shape[-1] > width
    return F.interpolate(
        pictures, (height, width), mode="bilinear", align_corners=False, antialias=shrinks
    )
