"""Frames and audio in the forms in which other libraries hold them, as tensors of a clip."""

import math
import numbers
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.errors import ClipError

ColourOrder = Literal["rgb", "bgr"]
"""The order of the colour channels: `"bgr"` is that of OpenCV."""

_CHUNK_SAMPLES = 1 << 22
# More channels are not audio: the samples come first, or it is a batch.
_MOST_CHANNELS = 16
# Float samples beyond this are integers that were not scaled.
_LARGEST_SAMPLE = 100.0
_FULL_SCALE = {torch.int16: 2.0**15, torch.int32: 2.0**31}


def frames_tensor(frames: Any, colours: ColourOrder = "rgb") -> Tensor:
    """Return frames in any form as `[T, 3, H, W]`, RGB, uint8 or float in [0, 1].

    Args:
        frames: An array or tensor `[T, 3, H, W]` or `[T, H, W, 3]`, or a list of such frames, or a
            list of PIL images.
        colours: Their order of colours.

    Raises:
        ClipError: If they are in none of these forms, or may be in two of them.

    Example:
        >>> frames_tensor([np.zeros((4, 6, 3), np.uint8)] * 2).shape
        torch.Size([2, 3, 4, 6])
    """
    if isinstance(frames, list | tuple):
        tensor = _stacked(frames)
    else:
        tensor = _tensor(frames, "frames [T, 3, H, W] or [T, H, W, 3]")
    if tensor.ndim != 4 or 0 in tensor.shape or 3 not in (tensor.shape[1], tensor.shape[3]):
        raise ClipError(
            "Expected frames [T, 3, H, W] or [T, H, W, 3] with T >= 1, got shape "
            f"{list(tensor.shape)}.{_shape_hint(tensor)}"
        )
    if tensor.shape[1] == tensor.shape[3] == 3 and not isinstance(frames, Tensor):
        raise ClipError(
            f"Frames of shape {list(tensor.shape)} may have their colours first or last. Pass them "
            "as a tensor, whose colours come first: `torch.as_tensor(frames)`."
        )
    if tensor.shape[1] != 3:
        tensor = tensor.permute(0, 3, 1, 2)
    if colours not in ("rgb", "bgr"):
        raise ClipError(f"Expected colours='rgb' or 'bgr', got {colours!r}.")
    return _checked_values(tensor.flip(1) if colours == "bgr" else tensor)


def _stacked(frames: Sequence[Any]) -> Tensor:
    from PIL import Image

    if not frames:
        raise ClipError("Expected at least one frame, got an empty list.")
    pictures = [
        np.array(frame.convert("RGB")) if isinstance(frame, Image.Image) else frame
        for frame in frames
    ]
    tensors = [_tensor(picture, "frames [H, W, 3] or [3, H, W]") for picture in pictures]
    kinds = {(tuple(t.shape), t.dtype) for t in tensors}
    if len(kinds) > 1:
        found = ", ".join(f"{list(shape)} {dtype}" for shape, dtype in sorted(kinds, key=str)[:4])
        raise ClipError(
            f"Expected frames of one size and type, got {found}. Resize them to one size first."
        )
    return torch.stack(tensors)


def _tensor(value: Any, expected: str) -> Tensor:
    try:
        if isinstance(value, np.ndarray) and any(stride < 0 for stride in value.strides):
            # E.g. `picture[..., ::-1]`, which torch cannot share.
            value = value.copy()
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ClipError(
            f"Expected {expected}, as numbers, got a {type(value).__name__} ({error})."
        ) from error


def _shape_hint(tensor: Tensor) -> str:
    if tensor.ndim == 4 and tensor.shape[-1] in (1, 4):
        kind = "grey; repeat it" if tensor.shape[-1] == 1 else "with alpha; drop it"
        rest = "`frames.repeat(3, -1)`" if tensor.shape[-1] == 1 else "`frames[..., :3]`"
        return f" The last channel is {kind}: {rest}."
    if tensor.ndim == 3 and 3 in tensor.shape:
        return " For a single frame add a first axis: `frames[None]`."
    if tensor.ndim == 5:
        return " Segment the clips of a batch one by one."
    return ""


def _checked_values(frames: Tensor) -> Tensor:
    if frames.dtype == torch.uint8:
        return frames
    if not frames.is_floating_point():
        raise ClipError(
            f"Expected frames of uint8, or float in [0, 1], got {frames.dtype}. Scale them to "
            "0..255 and convert them: `frames.astype('uint8')`."
        )
    low, high = float(frames.min()), float(frames.max())
    # Undoing and redoing a normalisation costs a few ulps, hence the slack.
    if not (low >= -1e-4 and high <= 1 + 1e-4):
        raise ClipError(
            f"Expected float frames in [0, 1], got values from {low:.3g} to {high:.3g}. Divide "
            "0..255 by 255, and undo any normalisation by mean and deviation: networks normalise "
            "themselves."
        )
    return frames


def waveform_tensor(waveform: Any) -> Tensor:
    """Return audio in any form as a mono waveform `[samples]`, float32 in [-1, 1].

    Args:
        waveform: `[samples]`, `[channels, samples]` or `[samples, channels]`, whose channels are
            averaged; float in [-1, 1], int16, int32, or uint8 as in WAV files.

    Raises:
        ClipError: If it is in none of these forms, or may be in two of them.

    Example:
        >>> waveform_tensor(np.full((100, 2), 16_384, np.int16))[:2].tolist()
        [0.5, 0.5]
    """
    samples = _tensor(waveform, "a waveform [samples] or [channels, samples]")
    if samples.ndim == 2 and min(samples.shape) == 1:
        samples = samples.flatten()
    if samples.ndim == 2:
        first, last = samples.shape
        if (first <= _MOST_CHANNELS) == (last <= _MOST_CHANNELS):
            raise ClipError(
                f"Audio of shape {[first, last]} may be [channels, samples] or [samples, channels]."
                " Average its channels yourself: `waveform.mean(0)` or `waveform.mean(1)`."
            )
        samples = samples if first <= _MOST_CHANNELS else samples.T
    elif samples.ndim != 1:
        raise ClipError(
            "Expected a waveform [samples], [channels, samples] or [samples, channels], got shape "
            f"{list(samples.shape)}. Segment the clips of a batch one by one."
        )
    samples = _scaled(samples)
    # Before the average, because infinities cancel out; in pieces, because hours of audio are
    # mapped from a file and need not be in memory.
    for piece in samples.split(_CHUNK_SAMPLES, dim=-1):
        _check_samples(piece)
    return samples if samples.ndim == 1 else _averaged(samples)


def _scaled(samples: Tensor) -> Tensor:
    if samples.is_floating_point():
        return samples.float()
    if samples.dtype == torch.uint8:
        return (samples.float() - 128) / 128
    if samples.dtype in _FULL_SCALE:
        return (samples.double() / _FULL_SCALE[samples.dtype]).float()
    raise ClipError(
        f"Expected samples of float in [-1, 1], int16, int32 or uint8, got {samples.dtype}, whose "
        "largest value is not known. Divide them by it, e.g. int16 by 32768."
    )


def _check_samples(samples: Tensor) -> None:
    peak = float(samples.abs().max()) if samples.numel() else 0.0
    if not math.isfinite(peak):
        raise ClipError(
            "Expected finite samples, got a waveform with NaN or infinite ones. Replace them with "
            "silence if that is acceptable: `waveform.nan_to_num(0)`."
        )
    if peak > _LARGEST_SAMPLE:
        raise ClipError(
            f"Expected float samples in [-1, 1], got values up to {peak:.6g}. Divide them by the "
            "largest value of their type, e.g. int16 by 32768."
        )


def _averaged(samples: Tensor) -> Tensor:
    """Average channels; those that cancel one another out are replaced by the loudest of them."""
    mean, energy = samples.mean(0), samples.square().sum(1)
    unrelated = energy.sum() / len(samples) ** 2
    if float(mean.square().sum()) >= 0.05 * float(unrelated):
        return mean
    loudest = int(energy.argmax())
    warnings.warn(
        "The audio channels cancel one another out when they are averaged (one is the negative of "
        f"another). Using channel {loudest} alone.",
        stacklevel=5,
    )
    return samples[loudest]


def checked_rate(sample_rate: Any) -> int:
    """Return a sample rate of any number type as an int.

    Raises:
        ClipError: If it is not a whole number above 0.

    Example:
        >>> checked_rate(np.float64(44_100))
        44100
    """
    value = sample_rate
    if hasattr(value, "item") and math.prod(value.shape) == 1:
        value = value.item()
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value != int(value) or value <= 0:
        raise ClipError(
            f"Expected samples per second, e.g. 16000, got sample_rate={sample_rate!r}. Give the "
            "rate that the audio was read with, as a whole number."
        )
    return int(value)


def row_tensor(rows: Any, name: str) -> Tensor:
    """Return numbers of each frame as a tensor.

    Raises:
        ClipError: If they are not numbers.
    """
    return _tensor(rows, f"{name} with one row a frame")
