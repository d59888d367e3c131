"""Checks and resizing of the Keyframe Processor's input."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.audio.log_mel import EXAMPLE_FRAMES, NUM_BANDS
from coprop_plugin.errors import KeyframeError


def check_input(frames: Tensor, log_mel: Tensor) -> None:
    """Check that the input is frames `[B, 3, H, W]` and a log-mel example for each.

    Raises:
        KeyframeError: If a shape differs.
    """
    wanted = (len(frames), 1, EXAMPLE_FRAMES, NUM_BANDS)
    if frames.ndim != 4 or frames.shape[1] != 3 or tuple(log_mel.shape) != wanted:
        raise KeyframeError(
            "Expected frames [B, 3, H, W] and log_mel [B, 1, 96, 64], one example per frame, got "
            f"frames of shape {list(frames.shape)} and log_mel {list(log_mel.shape)}. "
            "`coprop_plugin.audio.log_mel.clip_log_mel(clip)` returns the examples of a clip."
        )


def resized(pictures: Tensor, size: Sequence[int]) -> Tensor:
    """Resize pictures `[B, C, H, W]` bilinearly, with antialiasing when shrinking."""
    height, width = size
    if pictures.shape[-2:] == (height, width):
        return pictures
    shrinks = pictures.shape[-2] > height or pictures.shape[-1] > width
    return F.interpolate(
        pictures, (height, width), mode="bilinear", align_corners=False, antialias=shrinks
    )
