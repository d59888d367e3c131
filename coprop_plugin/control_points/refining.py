"""From seconds to the very moment: where near an answered change does the sound change?"""

from collections.abc import Sequence

import numpy as np

from coprop_plugin.control_points.boundaries import find_boundaries, sharpest_step
from coprop_plugin.control_points.novelty import spectral_shapes
from coprop_plugin.control_points.sound import ROWS_A_SECOND, SoundRows, sound_rows
from coprop_plugin.types import Clip

# Where a model says that there is a change, half of what novelty itself wants is enough.
_FAINT = 0.5


def refined(boundaries_s: Sequence[float], clip: Clip, reach_s: float) -> list[float]:
    """Move boundaries to the moments at which the sound changes.

    A language model that is asked about frames of a second knows a change to half a second: a
    frame is what sounds for most of it. Novelty knows the moment, but not which changes are changes
    of source. So the model says which, and novelty says when: its boundary nearby, a faint one too,
    or, where it has none, the sharpest step of the spectrum.

    Args:
        boundaries_s: In seconds, rising.
        clip: With a waveform or log-mels.
        reach_s: How far a boundary may move: half their least distance, so that none overtakes
            another.

    Returns:
        As many, rising.
    """
    rows = sound_rows(clip)
    _, found = find_boundaries(rows, spectral_shapes, _FAINT)
    heard = [rows.seconds(boundary.row) for boundary in found]
    moments = []
    for boundary in boundaries_s:
        step = _sharpest_step(rows, boundary, reach_s)
        near = [second for second in heard if abs(second - boundary) <= reach_s]
        moments.append(min(near, key=lambda second: abs(second - step), default=step))
    # Rounding to rows may swap two that meet in the middle.
    return sorted(moments)


def _sharpest_step(rows: SoundRows, second: float, reach_s: float) -> float:
    row_corners, second_corners = rows.corners
    row = round(float(np.interp(second, second_corners, row_corners)))
    reach, margin = round(reach_s * ROWS_A_SECOND), ROWS_A_SECOND
    first = max(0, row - reach - margin)
    mel = rows.mel(first, min(len(rows), row + reach + margin))
    return rows.seconds(first + sharpest_step(mel, row - first, reach))
