"""Segments in which the audio is silent, whichever provider found their control points."""

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from coprop_plugin.control_points.listening.boundaries import chunks, loudest_moment_db
from coprop_plugin.control_points.listening.mel_rows import ROWS_PER_SECOND, clip_mel_rows
from coprop_plugin.control_points.listening.silence import find_sound
from coprop_plugin.types import Clip, ControlPoints

_EDGE_S = 0.3
"""Sound of an adjacent segment that may reach into a silent one: boundaries are rounded to frames
or found a little late."""


class SilentSegments:
    """Marks segments in which the audio is silent, if their provider has not judged silence itself.

    A segment is silent if it sounds for less than half of its time, and for less than 0.3 s or half
    a frame in all, whichever is more.

    Args:
        clip: A clip with audio; its frames are not used.

    Example:
        >>> waveform = torch.cat([torch.rand(32_000) - 0.5, torch.zeros(48_000)])
        >>> clip = Clip(torch.rand(5, 3, 8, 8), waveform, 16_000, sampling="avsbench")
        >>> SilentSegments(clip).mark(ControlPoints([1, 0, 1, 0, 0])).silent.int().tolist()
        [0, 0, 1, 1, 1]
    """

    def __init__(self, clip: Clip) -> None:
        self.clip = clip

    def mark(self, points: ControlPoints, known: int | None = None) -> ControlPoints:
        """Return control points with `silent`.

        Args:
            points: Control points of the clip.
            known: The number of frames for which they are final; a segment that goes on there is
                judged by what comes before. None is all.

        Returns:
            The points as they are if they have `silent` already, or if the clip has neither a
            waveform nor log-mels.
        """
        clip, stop = self.clip, points.num_frames if known is None else known
        if points.silent is not None or (clip.waveform is None and clip.log_mel is None):
            return points
        spans, starts = clip.spans, points.indices
        starts_s = spans[starts, 0] if points.starts_s is None else points.starts_s
        frames_s = (spans[starts, 1] - spans[starts, 0]).tolist()
        end_s = float(spans[max(stop, 1) - 1, 1])
        if clip.waveform is not None:
            # The last frame may be shown for longer than there is audio.
            end_s = min(end_s, len(clip.waveform) / clip.sample_rate)
        ends_s = [min(end_s, s) for s in [*starts_s[1:].tolist(), end_s]]
        silent = torch.zeros(points.num_frames, dtype=torch.bool)
        rows = zip(points.segments, starts_s.tolist(), ends_s, frames_s, strict=True)
        for segment, begin_s, stop_s, frame_s in rows:
            most_s = min(max(_EDGE_S, frame_s / 2), (stop_s - begin_s) / 2)
            sound_s = self._sound_s(begin_s, stop_s)
            silent[segment.start : segment.stop] = sound_s == 0 or sound_s < most_s
        return replace(points, silent=silent)

    def _sound_s(self, start_s: float, stop_s: float) -> float:
        """Return for how many seconds between two times there is sound."""
        seconds, counts = self._sound
        first, last = np.searchsorted(seconds, (start_s, stop_s))
        return float(counts[last] - counts[first]) / ROWS_PER_SECOND

    @cached_property
    def _sound(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The time of each row of the audio, and how many rows before each one sound."""
        rows = clip_mel_rows(self.clip)
        loudest = loudest_moment_db(rows)
        # A minute at a time, with context on both sides.
        parts = [
            find_sound(rows.mel(start, stop), loudest).mask[keep_from - start : keep_to - start]
            for start, stop, keep_from, keep_to in chunks(len(rows))
        ]
        sounds = np.concatenate([np.zeros(1, dtype=bool), *parts])
        return np.interp(np.arange(len(rows)), *rows.corners), sounds.cumsum()
