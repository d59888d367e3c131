"""Frames and their sound on the way into the Keyframe Processor."""

from collections.abc import Sequence

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from coprop_plugin.audio.log_mel import EXAMPLE_FRAMES, NUM_BANDS, clip_log_mel, log_mel_at
from coprop_plugin.keyframes.errors import KeyframeError
from coprop_plugin.types import Clip

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalised(frames: Tensor) -> Tensor:
    """Normalise RGB in [0, 1] `[B, 3, H, W]` by the mean and deviation of ImageNet."""
    mean, std = (rearrange(frames.new_tensor(x), "c -> c 1 1") for x in (MEAN, STD))
    return (frames - mean) / std


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


def checked_indices(indices: Sequence[int], num_frames: int) -> list[int]:
    """Return keyframe indices as a list of ints.

    Raises:
        KeyframeError: If one lies outside the clip.
    """
    indices = [int(index) for index in indices]
    if any(not 0 <= index < num_frames for index in indices):
        raise KeyframeError(
            f"Got keyframes {indices} for a clip of {num_frames} frames; they are frame indices "
            f"from 0 to {num_frames - 1}. If they are seconds, multiply by the frame rate."
        )
    return indices


def log_mel_of(clip: Clip, indices: list[int]) -> Tensor:
    """Return the VGGish examples of some frames, `[K, 1, 96, 64]`.

    Those of other frames are not computed, except with `"avsbench"` sampling.

    Raises:
        ClipError: If the clip has neither waveform nor log-mels.
    """
    if clip.log_mel is None and clip.waveform is not None and clip.sampling == "pts":
        return log_mel_at(clip.waveform, clip.sample_rate, clip.listening_times[indices])
    return clip_log_mel(clip)[indices]


def resized(pictures: Tensor, size: Sequence[int]) -> Tensor:
    """Resize pictures `[B, C, H, W]` bilinearly; averages where it shrinks them."""
    height, width = size
    if pictures.shape[-2:] == (height, width):
        return pictures
    shrinks = pictures.shape[-2] > height or pictures.shape[-1] > width
    return F.interpolate(
        pictures, (height, width), mode="bilinear", align_corners=False, antialias=shrinks
    )
