"""What a language model is asked about: frames of a second, in windows of bearable length."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from coprop_plugin.errors import ControlPointError
from coprop_plugin.types import Clip

FRAME_S = 1.0
"""Length of the frames that are asked about, about: a sound is divided evenly."""
_LOOKED_AT = 2**20


@dataclass(frozen=True)
class AudioWindow:
    """Frames that are asked about at once, half-open."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def question_spans(clip: Clip) -> list[tuple[float, float]]:
    """Divide the sound of a clip evenly into frames of about a second, as the paper's prompts do.

    From the first frame to the end of the last one; from the beginning of the sound or to its end
    if that is near: up to a second before, in the last frame, or half a second after. With
    AVSBench's sampling a frame is a second, whatever its sound. At least two frames, unless the
    clip has one alone.

    Returns:
        Start and end of each in seconds, half-open, one after the other.

    Example:
        >>> question_spans(Clip(torch.rand(10, 3, 8, 8), torch.zeros(40_000)))
        [(0.0, 1.25), (1.25, 2.5)]
    """
    spans = clip.spans
    start, last, end = float(spans[0, 0]), float(spans[-1, 0]), float(spans[-1, 1])
    start = 0.0 if start < FRAME_S else start
    sound_end = len(clip.waveform) / clip.sample_rate if clip.waveform is not None else end
    if clip.sampling != "avsbench" and last < sound_end < end + FRAME_S / 2:
        end = sound_end
    count = max(round((end - start) / FRAME_S), min(clip.num_frames, 2))
    edges = [start + (end - start) * n / count for n in range(count + 1)]
    return list(zip(edges, edges[1:], strict=False))


def has_sound(clip: Clip) -> bool:
    """Whether any sample of a clip's waveform is not 0; of a long one, stretch by stretch."""
    stretches = range(0, len(clip.waveform), _LOOKED_AT)
    return any(bool(clip.waveform[first : first + _LOOKED_AT].any()) for first in stretches)


def sound_of(clip: Clip, start_s: float, end_s: float) -> Tensor:
    """Return a stretch of a clip's waveform, with silence after the sound's end."""
    first, last = round(start_s * clip.sample_rate), round(end_s * clip.sample_rate)
    waveform = clip.waveform[first:last]
    return torch.nn.functional.pad(waveform, (0, last - first - len(waveform)))


def windows_of(
    spans: Sequence[tuple[float, float]], limit_s: float | None, overlap_s: float
) -> list[AudioWindow]:
    """Cover frames with windows that overlap.

    Args:
        spans: Of `question_spans`.
        limit_s: The longest window, or None.
        overlap_s: How much two windows in a row have in common, at most half of one; at least one
            frame, so that each frame but the first is one of a window's later ones.

    Raises:
        ControlPointError: If not even two frames fit into the limit.
    """
    count = len(spans)
    frame_s = (spans[-1][1] - spans[0][0]) / count
    length = count if limit_s is None else min(count, math.floor(limit_s / frame_s + 1e-6))
    if length < min(count, 2):
        raise ControlPointError(
            f"Got windows of {limit_s:g} s at most, but a frame is {frame_s:.2f} s long; to hear a "
            "change, a model must hear two. Use another `window_s` or another model."
        )
    shared = max(1, min(round(overlap_s / frame_s), length // 2))
    starts = [0]
    while starts[-1] + length < count:
        # The last one is as long as the others, and has more in common.
        starts.append(min(starts[-1] + length - shared, count - length))
    return [AudioWindow(start, start + length) for start in starts]


def merged(windows: Sequence[AudioWindow], flags: Sequence[Sequence[int]]) -> list[int]:
    """Join the flags of windows that overlap.

    A window's first flag says nothing, since it heard nothing before: it is not used. Two windows
    are joined in the middle of what they share, or as near to it as there is a place where neither
    hears a change in the frames on both sides, so that one change, heard a frame apart, is not two.

    Args:
        windows: Of `windows_of`.
        flags: Of each window, as many as it has frames.

    Returns:
        One flag for each frame, the first one 1.

    Example:
        >>> windows = [AudioWindow(0, 6), AudioWindow(2, 8)]
        >>> merged(windows, [[1, 0, 0, 1, 0, 0], [1, 0, 1, 0, 0, 1]])
        [1, 0, 0, 1, 0, 0, 0, 1]
    """
    joined = list(flags[0])
    for window, heard in zip(windows[1:], flags[1:], strict=True):
        seam = _seam(joined, window, heard)
        joined = [*joined[:seam], *heard[seam - window.start :]]
    return [1, *joined[1:]]


def _seam(before: Sequence[int], window: AudioWindow, heard: Sequence[int]) -> int:
    """Return the first frame that the new window decides."""

    def quiet(seam: int) -> bool:
        near = range(max(seam - 1, window.start + 1), min(seam + 1, len(before)))
        return not any(before[t] or heard[t - window.start] for t in near)

    middle = (window.start + 1 + len(before)) / 2
    seams = sorted(range(window.start + 1, len(before) + 1), key=lambda seam: abs(seam - middle))
    return next(filter(quiet, seams), seams[0])
