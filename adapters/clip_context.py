"""Frames that a wrapped model is given together with a keyframe."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from coprop_plugin.errors import AdapterError

Context = Literal["frame", "window"]
"""What surrounds a keyframe: nothing, or the model's own clip length."""

# Sampled more slowly than this, neighbouring frames are the closest to one second apart.
_NEIGHBOUR_GAP_S = 0.6
# Time stamps of frames "on screen at second n" lie up to a frame before it; AVSBench's n + 15/16.
_SLACK_S = 0.06


@dataclass(frozen=True)
class Group:
    """Frames that go through a wrapped model together.

    Args:
        frames: Frame indices, in the order in which the model gets them; some may repeat.
        keyframes: The requested frames among them: from frame index to place in `frames`.
    """

    frames: tuple[int, ...]
    keyframes: dict[int, int]


def group_frames(
    times: Tensor, indices: Sequence[int], context: Context, clip_length: int
) -> list[Group]:
    """Group the frames to run for the keyframes `indices`.

    With `"frame"` context every keyframe is a group of its own. With `"window"` a group has
    `clip_length` frames about a second apart. A clip of at most `clip_length` frames is one
    window, its last frame repeated as AVSBench does. In a longer one, windows follow the clock:
    the keyframe of second n is frame n mod `clip_length` of its window (shifted at the ends of
    the clip), so that neighbouring keyframes share a window, and a window does not depend on
    which other keyframes are requested.

    Args:
        times: `[T]`, time stamps of the clip's frames in seconds.
        indices: The keyframes, in any order.
        context: `"frame"` or `"window"`.
        clip_length: Frames per window.

    Returns:
        Groups in the order of their first keyframe; each set of frames occurs once.

    Example:
        >>> from coprop_plugin.types import avsbench_times
        >>> times = avsbench_times(7)
        >>> [group.frames for group in group_frames(times, [0, 3, 6], "window", 5)]
        [(0, 1, 2, 3, 4), (2, 3, 4, 5, 6)]
    """
    groups: dict[tuple[int, ...], dict[int, int]] = {}
    for index in indices:
        frames: tuple[int, ...] = (index,)
        place = 0
        if context == "window":
            frames, place = _window(times, index, clip_length)
        groups.setdefault(frames, {}).setdefault(index, place)
    return [Group(frames, keyframes) for frames, keyframes in groups.items()]


def _window(times: Tensor, index: int, length: int) -> tuple[tuple[int, ...], int]:
    num_frames = len(times)
    if num_frames <= length:
        return tuple(min(t, num_frames - 1) for t in range(length)), index
    neighbours = float(times.diff().median()) > _NEIGHBOUR_GAP_S
    if neighbours:
        before, after = index, num_frames - 1 - index
    else:
        before = int(times[index] - times[0] + _SLACK_S)
        after = int(times[-1] - times[index] + _SLACK_S)
    second = int(times[index] + _SLACK_S)
    place = min(before, max(second % length, length - 1 - after))
    if neighbours:
        return tuple(range(index - place, index - place + length)), place
    wanted = times[index] + torch.arange(-place, length - place)
    frames = (times[None] - wanted[:, None]).abs().argmin(1).tolist()
    frames[place] = index
    return tuple(frames), place


def checked_context(context: str) -> Context:
    """Return `context` if it is valid.

    Raises:
        AdapterError: If it is neither `"frame"` nor `"window"`.
    """
    if context == "frame":
        return "frame"
    if context == "window":
        return "window"
    raise AdapterError(
        f"Expected context 'frame' (the keyframe alone) or 'window' (the model's own clip length "
        f"around it), got {context!r}."
    )
