"""When does anything sound at all?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coprop_plugin.control_points.listening.mel_rows import ROWS_A_SECOND

SHORTEST_PAUSE_S = 0.5
"""A shorter gap is a breath, not silence: an object still sounds for half of its second."""
SHORTEST_SOUND_S = 0.1
"""A shorter sound alone in silence is a click of the recording."""
_FLOOR_WINDOW_S = 0.3
# Between words and notes a source falls by 10 to 20 dB for a moment; 20 dB below the loudest
# moment for the whole of the floor's window is what a listener calls a background.
_BELOW_PEAK_DB = 20.0
# Stationary noise stays within 6 dB of the quietest 0.3 s.
_ABOVE_FLOOR_DB = 6.0
# About -75 dB of full scale: dither, codec residue, digital silence.
_NOTHING_DB = -60.0


@dataclass(frozen=True)
class Activity:
    """Where something sounds.

    Attributes:
        sounds: `[rows]` bool, one every 10 ms.
        contrast: How far the loudest moment stands out of the background, 1 just enough.
    """

    sounds: NDArray[np.bool_]
    contrast: float


def level_db(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the level of each row of mel magnitudes `[rows, 64]`, in dB, `[rows]`."""
    return 20 * np.log10(np.maximum(mel.mean(axis=1), 1e-5))


def find_activity(mel: NDArray[np.float64]) -> Activity:
    """Tell sound from silence, whatever the level and the background.

    The background is the quietest 0.3 s; a sound stands out by a third of the way, in dB, from
    there to the loudest moment, and by 6 dB at least. If nothing is 20 dB below the loudest
    moment for that long, everything sounds: a steady noise is one sound, not silence.

    Args:
        mel: `[rows, 64]` mel magnitudes, one row every 10 ms.

    Returns:
        One answer for each row; gaps shorter than 0.5 s count as sound.
    """
    level = level_db(mel)
    floor = _windows(level, round(_FLOOR_WINDOW_S * ROWS_A_SECOND)).max(axis=1).min()
    # A median, so that a click is no peak.
    smooth = np.median(_windows(np.pad(level, 5, mode="edge"), 11), axis=1)
    peak = smooth.max()
    if peak < _NOTHING_DB:
        return Activity(np.zeros(len(level), dtype=bool), 0.0)
    threshold = floor + max(_ABOVE_FLOOR_DB, (peak - floor) / 3)
    threshold = max(min(threshold, peak - _BELOW_PEAK_DB), _NOTHING_DB)
    contrast = (peak - max(floor, _NOTHING_DB)) / _BELOW_PEAK_DB
    return Activity(_without_blips(level > threshold), float(contrast))


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the half-open stretches where a mask is true.

    Example:
        >>> runs(np.array([True, True, False, True]))
        [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _without_blips(sounds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    sounds = sounds.copy()
    for start, stop in runs(~sounds):
        # Of a pause at an edge, half may lie outside.
        at_edge = start == 0 or stop == len(sounds)
        shortest_s = SHORTEST_PAUSE_S / 2 if at_edge else SHORTEST_PAUSE_S
        if stop - start < shortest_s * ROWS_A_SECOND:
            sounds[start:stop] = True
    for start, stop in runs(sounds):
        if stop - start < SHORTEST_SOUND_S * ROWS_A_SECOND:
            sounds[start:stop] = False
    return sounds


def _windows(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    missing = max(0, length - len(values))
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, (0, missing), "edge"), length)
