"""The time axis: from boundaries in seconds to frames.

Boundaries in seconds cut the audio into intervals, and each interval has a state: the set of
sounding objects. Interval i is half-open: it starts on boundary i - 1 and stops before boundary i.
A frame stands for its span (`Clip.spans`), and an object sounds in a frame if it sounds in at least
half of the span. So a frame is in the state that covers most of its span, a boundary becomes the
frame whose span starts nearest to it, and a sound too short for that is in no frame.
"""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.errors import ControlPointError

if TYPE_CHECKING:
    from coprop_plugin.types.clip import Clip

AVSBENCH_INSTANT_S = 15 / 16
"""When in its second AVSBench takes a frame, in seconds: frame t is the one at t + 15/16 s."""

TOLERANCE_S = 1e-6
"""How much shorter than the longest a state may be and count as equally long: rounding."""


def avsbench_times(num_frames: int) -> Tensor:
    """Return the time stamps of AVSBench's frames, one a second: `[T]` float64, in seconds.

    Example:
        >>> avsbench_times(3).tolist()
        [0.9375, 1.9375, 2.9375]
    """
    return torch.arange(num_frames, dtype=torch.float64) + AVSBENCH_INSTANT_S


def states_of_frames(
    boundaries_s: Sequence[float],
    clip: "Clip",
    states: Sequence[Hashable] | None = None,
) -> list[Hashable]:
    """Return the state of the audio in every frame of a clip.

    Args:
        boundaries_s: Where one interval ends and the next one starts, in seconds, rising.
        clip: The clip.
        states: The state of each interval, one more than boundaries; None numbers them.

    Returns:
        One state a frame.

    Raises:
        ControlPointError: If the boundaries are not rising numbers, or do not fit the states.

    Example:
        >>> from coprop_plugin.types import Clip
        >>> clip = Clip(torch.rand(4, 3, 8, 8), sampling="avsbench")
        >>> states_of_frames([1.4, 2.6], clip)  # second 1 mostly after 1.4, second 2 before 2.6
        [0, 1, 1, 2]
        >>> states_of_frames([1.3, 1.7], clip, ["dog", "silence", "dog"])
        ['dog', 'dog', 'dog', 'dog']
    """
    return states_of_spans(boundaries_s, clip.spans.tolist(), states)


def states_of_spans(
    boundaries_s: Sequence[float],
    spans: Sequence[tuple[float, float]],
    states: Sequence[Hashable] | None = None,
) -> list[Hashable]:
    """Return the state of the audio in half-open spans of seconds; see `states_of_frames`.

    Example:
        >>> states_of_spans([1.4], [(0, 1), (1, 2)], ["dog", "silence"])
        ['dog', 'silence']
    """
    edges = _checked_boundaries(boundaries_s)
    states = range(len(edges) + 1) if states is None else states
    if len(states) != len(edges) + 1:
        raise ControlPointError(
            f"Expected {len(edges) + 1} states for {len(edges)} boundaries, the state before the "
            f"first one included, got {len(states)}."
        )
    return [_prevailing(edges, states, start, end) for start, end in spans]


def change_frames(states: Sequence[Hashable]) -> list[int]:
    """Return the frames whose state differs from that of the frame before, and 0.

    Example:
        >>> change_frames(["dog", "dog", "silence", "cat"])
        [0, 2, 3]
    """
    return [t for t in range(len(states)) if t == 0 or states[t] != states[t - 1]]


def segment_starts_s(
    boundaries_s: Sequence[float],
    clip: "Clip",
    states: Sequence[Hashable],
    seen: Sequence[Hashable],
) -> list[float]:
    """Return when each segment begins, more precisely than its first frame.

    Args:
        boundaries_s: As in `states_of_frames`.
        clip: The clip.
        states: The state of each interval.
        seen: The state of every frame; see `states_of_frames`.

    Returns:
        One second for each of `change_frames(seen)`, rising: where within the frame's span its
        state begins, or where its span does.

    Example:
        >>> from coprop_plugin.types import Clip
        >>> clip = Clip(torch.rand(4, 3, 8, 8), sampling="avsbench")
        >>> segment_starts_s([1.4, 2.6], clip, [0, 1, 2], [0, 1, 1, 2])
        [0.0, 1.4, 3.0]
    """
    edges = _checked_boundaries(boundaries_s)
    starts_s = []
    for t in change_frames(seen):
        start, end = clip.spans[t].tolist()
        first = int(np.searchsorted(edges, start, side="right"))
        last = int(np.searchsorted(edges, end, side="left"))
        # Interval n begins on boundary n - 1; the one at the span's start begins there.
        inside = [n for n in range(first + 1, last + 1) if states[n] == seen[t]]
        within = states[first] == seen[t] or not inside
        starts_s.append(start if within else float(edges[inside[0] - 1]))
    return starts_s


def snap(boundaries_s: Sequence[float], clip: "Clip") -> list[int]:
    """Return the frames of changes of the audio at these seconds, the first one 0.

    That is the frame whose span starts nearest. Changes after the last frame are dropped, those
    before the first one are its own, and two changes within one span are one.

    Args:
        boundaries_s: In seconds, rising.
        clip: The clip.

    Returns:
        Frame indices, strictly rising.

    Raises:
        ControlPointError: If the boundaries are not rising numbers.

    Example:
        >>> from coprop_plugin.types import Clip
        >>> snap([0.0, 1.9], Clip(torch.rand(4, 3, 8, 8), sampling="avsbench"))
        [0, 2]
    """
    return change_frames(states_of_frames(boundaries_s, clip))


def _checked_boundaries(boundaries_s: Sequence[float]) -> np.ndarray:
    try:
        edges = np.asarray(boundaries_s, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        edges = np.array(np.nan)
    if edges.ndim != 1 or not np.isfinite(edges).all() or (np.diff(edges) < 0).any():
        raise ControlPointError(
            "Expected boundaries as a rising list of seconds, got "
            f"{str(boundaries_s)[:160]}. Sort it, and remove entries that are not numbers."
        )
    return edges


def _prevailing(
    edges: np.ndarray, states: Sequence[Hashable], start: float, end: float
) -> Hashable:
    """Return the state that covers most of start..end; of two equal ones the later one."""
    first = int(np.searchsorted(edges, start, side="right"))
    last = int(np.searchsorted(edges, end, side="left"))
    corners = [start, *edges[first:last].tolist(), end]
    shares: dict[Hashable, float] = {}
    for state, share in zip(states[first : last + 1], np.diff(corners), strict=True):
        # Taken out and put in again, so that the order is that of the last appearance.
        shares[state] = shares.pop(state, 0.0) + float(share)
    most = max(shares.values()) - TOLERANCE_S
    return [state for state, share in shares.items() if share >= most][-1]
