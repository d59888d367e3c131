"""Ranges of an answer, each with what sounds from its start to its end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from coprop_plugin.control_points.parsing.lists import Frames, UnreadableError, flags_of_states

Unit = Literal["frames", "seconds", "unknown"]
"""Of the numbers in a range."""


@dataclass(frozen=True)
class LabelledRange:
    """What `0:00-0:03 dog` says: `label` from `start` to `end`."""

    start: float
    end: float
    unit: Unit
    label: str


def flags_of_labelled(ranges: Sequence[LabelledRange], frames: Frames) -> list[int]:
    """Return the flags of ranges in any order; between ranges of seconds it is silent.

    Raises:
        UnreadableError: If they differ in their units, are ambiguous, or do not fit the frames.

    Example:
        >>> dog = LabelledRange(0, 2.8, "seconds", "dog")
        >>> girl = LabelledRange(2.8, 5, "seconds", "girl")
        >>> flags_of_labelled([dog, girl], Frames(num=5, length_s=1.0))
        [1, 0, 0, 1, 0]
    """
    units = {r.unit for r in ranges}
    if len(units) > 1:
        raise UnreadableError("its ranges have different units")
    ranges = sorted(ranges, key=lambda r: (r.start, r.end))
    unit = units.pop()
    return _of_seconds(ranges, frames) if unit == "seconds" else _of_frames(ranges, frames, unit)


def _of_seconds(ranges: Sequence[LabelledRange], frames: Frames) -> list[int]:
    if any(r.start >= r.end or r.end > frames.end_s + frames.length_s / 2 for r in ranges):
        raise UnreadableError(
            f"its ranges run backwards, are empty, or end after {frames.end_s:g} s"
        )
    for a, b in zip(ranges, ranges[1:], strict=False):
        if b.start - a.end == 1 and float(a.end).is_integer():
            raise UnreadableError(
                "a second is missing between its ranges, which may be counted or not"
            )
    inner = {s for r in ranges for s in (r.start, r.end)}
    edges = sorted(s for s in inner if 0 < s < frames.end_s)
    states = [
        frozenset(r.label or r for r in ranges if r.start <= begin < r.end) for begin in [0, *edges]
    ]
    return flags_of_states(edges, states, frames)


def _of_frames(ranges: Sequence[LabelledRange], frames: Frames, unit: Unit) -> list[int]:
    """Read ranges that cover all frames: with both ends included, or half-open from 0."""
    pairs = list(zip(ranges, ranges[1:], strict=False))
    first, last = int(ranges[0].start), int(ranges[-1].end)
    half_open = first == 0 and last == frames.num and all(a.end == b.start for a, b in pairs)
    included = (
        unit == "frames"
        and first in (0, 1)
        and last == first + frames.num - 1
        and all(a.end + 1 == b.start for a, b in pairs)
    )
    if not (half_open or included) or any(r.start > r.end for r in ranges):
        raise UnreadableError("its ranges do not cover every frame once, or have no unit")
    flags = [0] * frames.num
    flags[0] = 1
    for a, b in pairs:
        flags[int(b.start) - first] = int(not b.label or a.label != b.label)
    return flags
