"""Training clips from one labelled frame each, as in S4, by affine motion."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.registry import FUNCTIONS
from coprop_plugin.training.batches import sounding_clips

_MAX_TURN = math.radians(15)
_MAX_SCALE = 1.25
_MAX_SHIFT = 0.3
_MAX_SHEAR = 0.1


@FUNCTIONS.register_module(name=["affine_clips", "moved_clips"])
def affine_clips(samples: Sequence[Any]) -> dict[str, Any]:
    """Animate the labelled frame, and its mask, of clips that have a single one.

    For `PropagatorTraining` on clips of S4 and of AVSS's v1s, whose one source sounds throughout;
    clips with more labelled frames stay as they are. AOT makes such clips of single images in its
    pre-training; the paper does not describe its training on S4. The frame turns, scales, shears
    and shifts evenly to a pose that depends on the clip's name only, so that a resumed run gets the
    same clips; it is mirrored at its edges. The audio is the clip's own.

    Args:
        samples: As in `sounding_clips`.

    Returns:
        What `sounding_clips` returns; every frame of an animated clip is labelled.

    Raises:
        TrainingError: If clips differ in size.
    """
    return sounding_clips([_moved(sample) for sample in samples])


def _moved(sample: Any) -> Any:
    known = sample.labelled & sample.real
    if int(known.sum()) != 1:
        return sample
    shown, num_frames = int(known.int().argmax()), len(sample.masks)
    paths = _path(zlib.crc32(sample.id.encode()), num_frames)
    frame, mask = sample.clip.frames[shown], sample.masks[shown, None]
    frames = _sampled(frame.float(), paths, "bilinear").to(frame.dtype)
    masks = _sampled(mask.double(), paths.double(), "nearest")[:, 0].long()
    labelled = torch.ones(num_frames, dtype=torch.bool)
    return replace(sample, clip=replace(sample.clip, frames=frames), masks=masks, labelled=labelled)


def _path(seed: int, num_frames: int) -> Tensor:
    """Draw the affine map of each frame, `[T, 2, 3]`; the first is the identity."""
    generator = torch.Generator().manual_seed(seed)
    turn, scale, shear, right, down = (2 * torch.rand(5, generator=generator) - 1).tolist()
    angle, size = turn * _MAX_TURN, _MAX_SCALE**scale
    across, along = size * math.cos(angle), size * math.sin(angle)
    here = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    there = torch.tensor(
        [
            [across, shear * _MAX_SHEAR - along, right * _MAX_SHIFT],
            [along, across, down * _MAX_SHIFT],
        ]
    )
    return torch.lerp(here, there, torch.linspace(0, 1, num_frames)[:, None, None])


def _sampled(picture: Tensor, paths: Tensor, mode: str) -> Tensor:
    """Sample a picture [C, H, W] with the maps of a path; returns [T, C, H, W]."""
    pictures = picture.expand(len(paths), *picture.shape)
    grid = F.affine_grid(paths, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, mode, padding_mode="reflection", align_corners=False)
