"""Sizes: what a propagator accepts, and what AOT's grid makes of it."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.errors import PropagationError

STRIDE = 16
"""Pixels per token; the sides of what the network sees are 16 n + 1."""


IGNORE = 255
"""In masks that are given for training: pixels of which nothing is known."""


def one_hot(masks: Tensor, num_objects: int) -> Tensor:
    """Turn object ids into planes of zeros and ones.

    Args:
        masks: `[B, H, W]` ids, 0 the background.
        num_objects: n. Ids above it (`IGNORE`) belong to no plane.

    Returns:
        `[B, 1 + n, H, W]` float32, the background first.

    Example:
        >>> one_hot(torch.tensor([[[0, 2, 255]]]), num_objects=2)[0, :, 0].int().tolist()
        [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    """
    ids = torch.arange(num_objects + 1, device=masks.device)
    return (masks[:, None] == ids[:, None, None]).float()


def check_keyframe(frame: Tensor, masks: Tensor) -> None:
    """Refuse a keyframe that is not `[B, 3, H, W]` float with integer masks `[B, H, W]`.

    Raises:
        PropagationError: If it is not, or if the masks hold 255.
    """
    if frame.ndim != 4 or frame.shape[1] != 3 or not frame.is_floating_point():
        raise PropagationError(
            f"Got a frame of shape {list(frame.shape)} and {frame.dtype}; wanted [B, 3, H, W], "
            "float RGB in [0, 1]. `clip.rgb([t])` gives that."
        )
    check_masks(masks, frame)
    if int(masks.max()) >= IGNORE:
        raise PropagationError(
            f"Got an object id of {int(masks.max())} in a keyframe; ids count the objects from 1. "
            "Is this a picture of 0 and 255? Use `masks.clamp(max=1)`."
        )


def check_masks(masks: Tensor, frame: Tensor) -> None:
    """Refuse masks that are not integer object ids `[B, H, W]` of the frame `[B, 3, H, W]`.

    Raises:
        PropagationError: If they are not.
    """
    wanted = [len(frame), *frame.shape[-2:]]
    if list(masks.shape) != wanted or masks.is_floating_point() or masks.dtype == torch.bool:
        raise PropagationError(
            f"Got masks of shape {list(masks.shape)} and {masks.dtype} for frames of shape "
            f"{list(frame.shape)}; wanted integer object ids {wanted}, 0 the background. "
            "Resize the masks to the frames; `.long()` makes ids of a bool mask."
        )
    if masks.numel() and int(masks.min()) < 0:
        raise PropagationError(
            f"Got an object id of {int(masks.min())}; ids are 0 for the background, then 1..n. "
            "Set pixels to ignore to 0."
        )


def check_forced_masks(masks: Tensor, frame: Tensor, num_objects: int) -> None:
    """Refuse masks to remember that do not fit the frame, or hold objects beyond `num_objects`.

    Raises:
        PropagationError: If they do; `IGNORE` is welcome.
    """
    check_masks(masks, frame)
    known = masks[masks != IGNORE]
    if known.numel() and int(known.max()) > num_objects:
        raise PropagationError(
            f"Got object id {int(known.max())} in a segment of {num_objects} objects. New objects "
            "begin with a keyframe: call `start` with masks that hold them all."
        )


def check_next_frame(frame: Tensor, wanted: Sequence[int]) -> None:
    """Refuse a frame whose batch or size is not that of `wanted` = [B, ..., H, W].

    Raises:
        PropagationError: If it is not.
    """
    if [len(frame), *frame.shape[-2:]] != [wanted[0], *wanted[-2:]] or frame.ndim != 4:
        raise PropagationError(
            f"Got a frame of shape {list(frame.shape)} after a keyframe of {wanted[0]} clips at "
            f"{wanted[-2]}x{wanted[-1]}; a segment keeps its batch and its size. Resize the "
            "frame, or start anew with a keyframe of this size."
        )


def check_sound(sound: Tensor, batch: int, width: int | None) -> None:
    """Refuse sound that is not `[B, N, D]`, D the width of a propagator's audio tokens.

    Raises:
        PropagationError: If it is not, or the width is None: nothing there listens.
    """
    if width is not None and sound.ndim == 3 and sound.shape[::2] == (batch, width):
        return
    wanted = f"[B={batch}, N, {width}], rows of `hear`"
    if width is None:
        wanted = "no sound: nothing in this propagator listens"
    raise PropagationError(
        f"Got sound of shape {list(sound.shape)}; wanted {wanted}. Take `hear(clip)[t : t + 1]`"
        " of this very propagator, or None."
    )


def network_size(height: int, width: int, max_size: int | None) -> tuple[int, int]:
    """Return the size of at most `max_size` at the long edge that AOT's grid allows.

    As upstream: scaled down if the long edge is above `max_size`, cut to whole pixels, then each
    side to the nearest 16 n + 1 (a half goes to the even n), 17 at least.

    Example:
        >>> network_size(480, 854, max_size=1040), network_size(1080, 1920, max_size=1040)
        ((481, 849), (577, 1041))
    """
    scale = 1.0
    if max_size is not None and max(height, width) > max_size:
        scale = max_size / max(height, width)
    return tuple(
        max(round((int(side * scale) - 1) / STRIDE), 1) * STRIDE + 1 for side in (height, width)
    )


def resize_frame(frame: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize RGB [B, 3, H, W] by bicubic interpolation; untouched where it fits already."""
    if tuple(frame.shape[-2:]) == size:
        return frame
    resized = F.interpolate(frame, size, mode="bicubic", align_corners=False, antialias=False)
    return resized.clamp(0, 1)


def resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize object ids [B, H, W] to their nearest neighbours (torch's `"nearest"`: floor)."""
    if tuple(masks.shape[-2:]) == size:
        return masks
    return F.interpolate(masks[:, None].float(), size, mode="nearest")[:, 0].to(masks.dtype)


def resize_features(feature: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a map [B, C, H, W] bilinearly, corners on corners as 16 n + 1 wants it."""
    if tuple(feature.shape[-2:]) == tuple(size):
        return feature
    return F.interpolate(feature, size, mode="bilinear", align_corners=True)
