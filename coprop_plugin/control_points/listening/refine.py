"""From whole seconds to exact moments: where the audio changes near a change that a model named."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from coprop_plugin.control_points.listening.boundaries import find_boundaries, sharpest_step
from coprop_plugin.control_points.listening.mel_rows import (
    ROWS_PER_SECOND,
    MelRows,
    clip_mel_rows,
)
from coprop_plugin.control_points.novelty import spectral_shapes
from coprop_plugin.types import Clip

# Where a model names a change, half of the score that novelty itself requires is enough.
_LEAST_SCORE = 0.5


class Refiner:
    """Moves boundaries to the moments at which the audio changes.

    A language model that labels frames of a second locates a change to half a second: a frame has
    the state that covers most of it. Novelty locates a change exactly, but cannot tell which
    changes are changes of source. So the model decides which, and novelty when: its nearest
    boundary, even one with a low score, or, where it has none, the sharpest step of the spectrum.

    Args:
        clip: With a waveform or log-mels; processed when the first boundary is moved.
        reach_s: How far a boundary may move: half their least distance, so that their order stays.
    """

    def __init__(self, clip: Clip, reach_s: float) -> None:
        self._clip, self._reach_s = clip, reach_s
        self._known: dict[float, float] = {}

    def moments(self, boundaries_s: Sequence[float]) -> list[float]:
        """Return one moment for each boundary, in seconds, rising."""
        # Rounding to rows may swap two that meet in the middle.
        return sorted(map(self._moment, boundaries_s))

    def _moment(self, boundary_s: float) -> float:
        if boundary_s not in self._known:
            step_s = _sharpest_step(self._rows, boundary_s, self._reach_s)
            near = [s for s in self._novelty_s if abs(s - boundary_s) <= self._reach_s]
            self._known[boundary_s] = min(near, key=lambda s: abs(s - step_s), default=step_s)
        return self._known[boundary_s]

    @cached_property
    def _rows(self) -> MelRows:
        return clip_mel_rows(self._clip)

    @cached_property
    def _novelty_s(self) -> list[float]:
        _, found = find_boundaries(self._rows, spectral_shapes, _LEAST_SCORE)
        return [self._rows.seconds(boundary.row) for boundary in found]


def _sharpest_step(rows: MelRows, second: float, reach_s: float) -> float:
    row_corners, second_corners = rows.corners
    row = round(float(np.interp(second, second_corners, row_corners)))
    reach, margin = round(reach_s * ROWS_PER_SECOND), ROWS_PER_SECOND
    first = max(0, row - reach - margin)
    mel = rows.mel(first, min(len(rows), row + reach + margin))
    return rows.seconds(first + sharpest_step(mel, row - first, reach))
