"""From seconds to the very moment: where near an answered change does the sound change?"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from coprop_plugin.control_points.listening.boundaries import find_boundaries, sharpest_step
from coprop_plugin.control_points.listening.mel_rows import ROWS_A_SECOND, SoundRows, sound_rows
from coprop_plugin.control_points.novelty import spectral_shapes
from coprop_plugin.types import Clip

# Where a model says that there is a change, half of what novelty itself wants is enough.
_FAINT = 0.5


class Refiner:
    """Moves boundaries to the moments at which the sound changes.

    A language model that is asked about frames of a second knows a change to half a second: a
    frame is what sounds for most of it. Novelty knows the moment, but not which changes are changes
    of source. So the model says which, and novelty says when: its boundary nearby, a faint one too,
    or, where it has none, the sharpest step of the spectrum.

    Args:
        clip: With a waveform or log-mels; heard when the first boundary is moved.
        reach_s: How far a boundary may move: half their least distance, so that none overtakes
            another.
    """

    def __init__(self, clip: Clip, reach_s: float) -> None:
        self._clip, self._reach_s = clip, reach_s
        self._known: dict[float, float] = {}

    def moments(self, boundaries_s: Sequence[float]) -> list[float]:
        """Return as many seconds as were given, rising."""
        # Rounding to rows may swap two that meet in the middle.
        return sorted(map(self._moment, boundaries_s))

    def _moment(self, boundary: float) -> float:
        if boundary not in self._known:
            step = _sharpest_step(self._rows, boundary, self._reach_s)
            near = [second for second in self._heard if abs(second - boundary) <= self._reach_s]
            self._known[boundary] = min(near, key=lambda second: abs(second - step), default=step)
        return self._known[boundary]

    @cached_property
    def _rows(self) -> SoundRows:
        return sound_rows(self._clip)

    @cached_property
    def _heard(self) -> list[float]:
        _, found = find_boundaries(self._rows, spectral_shapes, _FAINT)
        return [self._rows.seconds(boundary.row) for boundary in found]


def _sharpest_step(rows: SoundRows, second: float, reach_s: float) -> float:
    row_corners, second_corners = rows.corners
    row = round(float(np.interp(second, second_corners, row_corners)))
    reach, margin = round(reach_s * ROWS_A_SECOND), ROWS_A_SECOND
    first = max(0, row - reach - margin)
    mel = rows.mel(first, min(len(rows), row + reach + margin))
    return rows.seconds(first + sharpest_step(mel, row - first, reach))
