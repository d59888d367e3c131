"""Checks of a propagator's input, and sizes on AOT's grid."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.errors import PropagationError

STRIDE = 16
"""Pixels per token; the sides of the network's input are 16 n + 1."""

IGNORE = 255
"""In masks for training: unlabelled pixels."""


def one_hot(masks: Tensor, num_objects: int) -> Tensor:
    """Convert object ids to one-hot planes.

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
    """Check that a keyframe is `[B, 3, H, W]`, uint8 or float, with integer masks `[B, H, W]`.

    Raises:
        PropagationError: If it is not, or if the masks hold 255.
    """
    is_rgb = frame.is_floating_point() or frame.dtype == torch.uint8
    if frame.ndim != 4 or frame.shape[1] != 3 or not is_rgb:
        raise PropagationError(
            "Expected a frame [B, 3, H, W], RGB, uint8 or float in [0, 1], got shape "
            f"{list(frame.shape)} and {frame.dtype}. Use `clip.rgb([t])`."
        )
    check_masks(masks, frame)
    if int(masks.max()) >= IGNORE:
        raise PropagationError(
            f"Expected object ids counted from 1 in a keyframe, got {int(masks.max())}. For an "
            "image of 0 and 255 use `masks.clamp(max=1)`."
        )


def check_masks(masks: Tensor, frame: Tensor) -> None:
    """Check that masks are integer object ids `[B, H, W]` of the frame `[B, 3, H, W]`.

    Raises:
        PropagationError: If they are not.
    """
    wanted = [len(frame), *frame.shape[-2:]]
    if list(masks.shape) != wanted or masks.is_floating_point() or masks.dtype == torch.bool:
        raise PropagationError(
            f"Expected integer object ids {wanted}, 0 the background, for frames of shape "
            f"{list(frame.shape)}, got shape {list(masks.shape)} and {masks.dtype}. Resize the "
            "masks to the frames; convert a bool mask by `.long()`."
        )
    if masks.numel() and int(masks.min()) < 0:
        raise PropagationError(
            f"Expected object ids 0 (background), 1..n, got {int(masks.min())}. Set pixels to "
            "ignore to 0."
        )


def check_forced_masks(masks: Tensor, frame: Tensor, num_objects: int) -> None:
    """Check that given masks fit the frame, and hold no objects beyond `num_objects`.

    Raises:
        PropagationError: If they do not; `IGNORE` is allowed.
    """
    check_masks(masks, frame)
    known = masks[masks != IGNORE]
    if known.numel() and int(known.max()) > num_objects:
        raise PropagationError(
            f"Expected object ids up to {num_objects} in this segment, got {int(known.max())}. New "
            "objects need a keyframe: call `start` with masks that hold them all."
        )


def check_next_frame(frame: Tensor, wanted: Sequence[int]) -> None:
    """Check that a frame has the batch and size of `wanted` = [B, ..., H, W].

    Raises:
        PropagationError: If it is not.
    """
    if [len(frame), *frame.shape[-2:]] != [wanted[0], *wanted[-2:]] or frame.ndim != 4:
        raise PropagationError(
            f"Expected a frame of {wanted[0]} clips at {wanted[-2]}x{wanted[-1]}, like the "
            f"keyframe, got shape {list(frame.shape)}. Resize the frame, or call `start` with a "
            "keyframe of this size."
        )


def check_sound(sound: Tensor, batch: int, width: int | None) -> None:
    """Check that audio tokens are `[B, N, D]`, D their width in a propagator.

    Raises:
        PropagationError: If they are not, or the width is None: the propagator takes no audio.
    """
    if width is not None and sound.ndim == 3 and sound.shape[::2] == (batch, width):
        return
    expected = f"audio tokens [B={batch}, N, {width}], rows of `hear`"
    if width is None:
        expected = "no audio tokens, which this propagator does not use"
    raise PropagationError(
        f"Expected {expected}, got shape {list(sound.shape)}. Pass `hear(clip)[t : t + 1]` of the "
        "same propagator, or None."
    )


def network_size(height: int, width: int, max_size: int | None) -> tuple[int, int]:
    """Return the size on AOT's grid with a long edge of about `max_size` at most.

    As upstream: scaled down if the long edge is above `max_size`, cut to whole pixels, then each
    side rounded to the nearest 16 n + 1 (half to even n), at least 17.

    Example:
        >>> network_size(480, 854, max_size=1040), network_size(1080, 1920, max_size=1040)
        ((481, 849), (577, 1041))
    """
    scale = 1.0
    if max_size is not None and max(height, width) > max_size:
        scale = max_size / max(height, width)
    rows, columns = (
        max(round((int(side * scale) - 1) / STRIDE), 1) * STRIDE + 1 for side in (height, width)
    )
    return rows, columns


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


def resize_features(feature: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a map [B, C, H, W] bilinearly with aligned corners, for sizes 16 n + 1."""
    if tuple(feature.shape[-2:]) == tuple(size):
        return feature
    return F.interpolate(feature, tuple(size), mode="bilinear", align_corners=True)
