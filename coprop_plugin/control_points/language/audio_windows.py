"""Long audio for a language model: frames of about a second, in overlapping windows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from coprop_plugin.errors import ControlPointError
from coprop_plugin.types import Clip

FRAME_S = 1.0
"""Approximate length of the frames in a question: the audio is divided evenly."""
_SAMPLES_AT_ONCE = 2**20


@dataclass(frozen=True)
class AudioWindow:
    """The frames of one conversation, half-open."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def question_spans(clip: Clip) -> list[tuple[float, float]]:
    """Divide the audio of a clip evenly into frames of about a second, as the paper's prompts do.

    From the first frame to the end of the last one; from the start of the audio if that is at most
    a second before, and to its end if that is in the last frame or at most half a second after.
    With AVSBench's sampling a frame is a second, whatever the length of the audio. At least two
    frames, unless the clip has only one.

    Returns:
        Start and end of each in seconds, half-open, one after the other.

    Example:
        >>> question_spans(Clip(torch.rand(10, 3, 8, 8), torch.zeros(40_000)))
        [(0.0, 1.25), (1.25, 2.5)]
    """
    spans = clip.spans
    start, last, end = float(spans[0, 0]), float(spans[-1, 0]), float(spans[-1, 1])
    start = 0.0 if start < FRAME_S else start
    audio_end = len(clip.waveform) / clip.sample_rate if clip.waveform is not None else end
    if clip.sampling != "avsbench" and last < audio_end < end + FRAME_S / 2:
        end = audio_end
    count = max(round((end - start) / FRAME_S), min(clip.num_frames, 2))
    edges = [start + (end - start) * n / count for n in range(count + 1)]
    return list(zip(edges, edges[1:], strict=False))


def has_sound(waveform: Tensor) -> bool:
    """Whether any sample is not 0; a long waveform is read in parts."""
    parts = range(0, len(waveform), _SAMPLES_AT_ONCE)
    return any(bool(waveform[first : first + _SAMPLES_AT_ONCE].any()) for first in parts)


def audio_between(waveform: Tensor, sample_rate: int, start_s: float, end_s: float) -> Tensor:
    """Return the part of a waveform between two times, with silence after its end."""
    first, last = round(start_s * sample_rate), round(end_s * sample_rate)
    part = waveform[first:last]
    return torch.nn.functional.pad(part, (0, last - first - len(part)))


def windows_of(
    spans: Sequence[tuple[float, float]], limit_s: float | None, overlap_s: float
) -> list[AudioWindow]:
    """Cover frames with overlapping windows.

    Args:
        spans: From `question_spans`.
        limit_s: The longest window, or None.
        overlap_s: Overlap of consecutive windows, at most half of one; at least one frame, so that
            each frame but the first is not the first frame of some window.

    Raises:
        ControlPointError: If not even two frames fit into the limit.
    """
    count = len(spans)
    frame_s = (spans[-1][1] - spans[0][0]) / count
    length = count if limit_s is None else min(count, math.floor(limit_s / frame_s + 1e-6))
    if length < min(count, 2):
        raise ControlPointError(
            f"Expected windows of at least two frames of {frame_s:.2f} s, as a change is between "
            f"two, got at most {limit_s:g} s. Raise `window_s`, or use another model."
        )
    shared = max(1, min(round(overlap_s / frame_s), length // 2))
    starts = [0]
    while starts[-1] + length < count:
        # The last one is as long as the others, and overlaps more.
        starts.append(min(starts[-1] + length - shared, count - length))
    return [AudioWindow(start, start + length) for start in starts]


def merged(windows: Sequence[AudioWindow], flags: Sequence[Sequence[int]]) -> list[int]:
    """Join the flags of overlapping windows.

    A window's first flag is not used, since no audio before it was given. Two windows are joined in
    the middle of their overlap, or as near to it as both have no change on either side of the seam,
    so that one change that they place a frame apart does not count twice.

    Args:
        windows: From `windows_of`.
        flags: Of each window, one per frame.

    Returns:
        One flag for each frame, the first one 1.

    Example:
        >>> windows = [AudioWindow(0, 6), AudioWindow(2, 8)]
        >>> merged(windows, [[1, 0, 0, 1, 0, 0], [1, 0, 1, 0, 0, 1]])
        [1, 0, 0, 1, 0, 0, 0, 1]
    """
    joined = list(flags[0])
    for window, own in zip(windows[1:], flags[1:], strict=True):
        seam = _seam(joined, window, own)
        joined = [*joined[:seam], *own[seam - window.start :]]
    return [1, *joined[1:]]


def _seam(before: Sequence[int], window: AudioWindow, own: Sequence[int]) -> int:
    """Return the first frame whose flag comes from the new window."""

    def quiet(seam: int) -> bool:
        near = range(max(seam - 1, window.start + 1), min(seam + 1, len(before)))
        return not any(before[t] or own[t - window.start] for t in near)

    middle = (window.start + 1 + len(before)) / 2
    seams = sorted(range(window.start + 1, len(before) + 1), key=lambda seam: abs(seam - middle))
    return next(filter(quiet, seams), seams[0])
