"""Silence detection: which rows of the audio hold sound."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coprop_plugin.control_points.listening.mel_rows import ROWS_PER_SECOND

SHORTEST_PAUSE_S = 0.5
"""A shorter gap is a breath, not silence: an object still sounds for half of its second."""
SHORTEST_SOUND_S = 0.1
"""A shorter sound alone in silence is a click of the recording."""
_FLOOR_WINDOW_S = 0.3
# Between words and notes the level of a source drops by 10 to 20 dB for a moment; a level 20 dB
# below the loudest moment for the whole floor window is a background.
_BELOW_PEAK_DB = 20.0
# Steady sound this far below the loudest moment of long audio is a background, though nothing near
# it is louder.
_BELOW_LOUDEST_DB = 30.0
# Stationary noise stays within 6 dB of the quietest 0.3 s.
_ABOVE_FLOOR_DB = 6.0
# About -75 dB of full scale: dither, codec residue, digital silence.
_NOTHING_DB = -60.0


@dataclass(frozen=True)
class Sound:
    """The rows that hold sound.

    Attributes:
        mask: `[rows]` bool, one every 10 ms; false is silence.
        contrast: How far the loudest moment exceeds the background; 1 is just enough.
    """

    mask: NDArray[np.bool_]
    contrast: float


def level_db(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the level of each row of mel magnitudes `[rows, 64]`, in dB, `[rows]`."""
    return 20 * np.log10(np.maximum(mel.mean(axis=1), 1e-5))


def loudest_db(mel: NDArray[np.float64]) -> float:
    """Return the level of the loudest moment of mel magnitudes `[rows, 64]`, in dB."""
    return float(_smooth(level_db(mel)).max())


def find_sound(mel: NDArray[np.float64], loudest: float = -np.inf) -> Sound:
    """Separate sound from silence, at any level and with any background.

    The background is the quietest 0.3 s; sound exceeds it by a third of the difference, in dB,
    between the background and the loudest moment, and by 6 dB at least. If no level is 20 dB below
    the loudest moment for that long, everything is sound: a steady noise is one sound, not silence,
    unless it is 30 dB below the loudest moment of the audio that `mel` is a part of.

    Args:
        mel: `[rows, 64]` mel magnitudes, one row every 10 ms.
        loudest: Level of the loudest moment of the whole audio, in dB.

    Returns:
        The mask of the rows with sound; gaps shorter than 0.5 s count as sound.
    """
    level = level_db(mel)
    floor = _windows(level, round(_FLOOR_WINDOW_S * ROWS_PER_SECOND)).max(axis=1).min()
    peak = _smooth(level).max()
    is_steady = peak - floor < _BELOW_PEAK_DB
    if peak < _NOTHING_DB or (is_steady and peak < loudest - _BELOW_LOUDEST_DB):
        return Sound(np.zeros(len(level), dtype=bool), 0.0)
    threshold = floor + max(_ABOVE_FLOOR_DB, (peak - floor) / 3)
    threshold = max(min(threshold, peak - _BELOW_PEAK_DB), _NOTHING_DB)
    contrast = (peak - max(floor, _NOTHING_DB)) / _BELOW_PEAK_DB
    return Sound(_without_blips(level > threshold), float(contrast))


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the half-open ranges in which a mask is true.

    Example:
        >>> runs(np.array([True, True, False, True]))
        [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _without_blips(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    mask = mask.copy()
    for start, stop in runs(~mask):
        # Half of a pause at an edge may lie outside.
        at_edge = start == 0 or stop == len(mask)
        shortest_s = SHORTEST_PAUSE_S / 2 if at_edge else SHORTEST_PAUSE_S
        if stop - start < shortest_s * ROWS_PER_SECOND:
            mask[start:stop] = True
    for start, stop in runs(mask):
        if stop - start < SHORTEST_SOUND_S * ROWS_PER_SECOND:
            mask[start:stop] = False
    return mask


def _smooth(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a running median, so that a click is not a peak."""
    return np.median(_windows(np.pad(level, 5, mode="edge"), 11), axis=1)


def _windows(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    missing = max(0, length - len(values))
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, (0, missing), "edge"), length)
