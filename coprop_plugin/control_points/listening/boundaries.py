"""Boundaries of the audio: where it changes into another sound, begins, or ends."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from coprop_plugin.control_points.listening.change_points import find_change_points
from coprop_plugin.control_points.listening.mel_rows import MARGIN_S, ROWS_PER_SECOND, MelRows
from coprop_plugin.control_points.listening.silence import find_sound, loudest_db, runs

Rule = Literal["change", "onset", "offset"]
"""Why there is a boundary: another sound, sound after silence, or silence after sound."""

SILENT = -1
DYNAMIC_RANGE_DB = 30.0
"""Sound further below the loudest is ignored."""
SHORTEST_S = 0.5
_NEAR_SILENCE_S = 0.3
# A syllable and a pause: longer than what makes a step within a source.
_STEP_S = 0.3
_CHUNK_S = 60


@dataclass(frozen=True)
class Boundary:
    """A row at which the state of the audio changes.

    Attributes:
        row: The first row of the new state.
        state: The new state: -1 is silence, other numbers are different sounds.
        rule: Why there is a boundary.
        score: How clear it is; 1 is just clear enough.
    """

    row: int
    state: int
    rule: Rule
    score: float


@dataclass(frozen=True)
class Moments:
    """Features of moments of the audio, in which changes are searched.

    Attributes:
        features: `[moments, dims]`, each of length 1.
        rows: `[moments]`, the row at which each begins, rising; the first row given is 0.
        per_second: How many moments there are per second.
    """

    features: NDArray[np.float64]
    rows: NDArray[np.int64]
    per_second: float


MomentFeatures = Callable[[MelRows, int, int, NDArray[np.bool_]], Moments]
"""Returns the moments of rows start..stop-1 of the audio, of which some are silent (false)."""


def find_boundaries(
    rows: MelRows, moment_features: MomentFeatures, least_score: float = 1.0
) -> tuple[int, list[Boundary]]:
    """Find where the state of the audio changes.

    Long audio is processed in chunks of a minute, each with 5 s of context on both sides.

    Args:
        rows: The audio.
        moment_features: Features of its moments.
        least_score: As in `find_change_points`.

    Returns:
        The state at the start, and the boundaries by rising row.
    """
    boundaries: list[Boundary] = []
    first_state = SILENT
    state, next_id = SILENT, 0
    loudest = loudest_moment_db(rows)
    for start, stop, keep_from, keep_to in chunks(len(rows)):
        chunk = _Chunk(rows, start, stop, loudest, next_id, moment_features, least_score)
        next_id = int(chunk.states.max(initial=next_id)) + 1
        states = chunk.states[keep_from - start : keep_to - start]
        if keep_from == 0:
            state = first_state = int(states[0])
        # A sound that continues over the seam keeps its number.
        elif state != SILENT and states[0] != SILENT:
            states = np.where(states == states[0], state, states)
        for row in np.flatnonzero(np.diff(states, prepend=state)):
            new_state = int(states[row])
            rule, score = chunk.reason(int(row) + keep_from - start, state, new_state)
            boundaries.append(Boundary(int(row) + keep_from, new_state, rule, score))
            state = new_state
    return first_state, boundaries


def chunks(num_rows: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the rows of each chunk with its context (start, stop) and without (from, to)."""
    length, margin = _CHUNK_S * ROWS_PER_SECOND, MARGIN_S * ROWS_PER_SECOND
    for keep_from in range(0, num_rows, length):
        keep_to = min(keep_from + length, num_rows)
        yield max(0, keep_from - margin), min(num_rows, keep_to + margin), keep_from, keep_to


def loudest_moment_db(rows: MelRows) -> float:
    """Return the level of the loudest moment of the audio, in dB."""
    parts = [(start, stop) for start, stop, *_ in chunks(len(rows))]
    # One part knows its own.
    return max(loudest_db(rows.mel(*part)) for part in parts) if len(parts) > 1 else -np.inf


class _Chunk:
    """The states of a minute of audio."""

    def __init__(
        self,
        rows: MelRows,
        start: int,
        stop: int,
        loudest: float,
        first_id: int,
        moment_features: MomentFeatures,
        least_score: float,
    ) -> None:
        mel = rows.mel(start, stop)
        sound = find_sound(mel, loudest)
        self.contrast = sound.contrast
        self.scores: dict[int, float] = {}
        self.states = np.full(len(mel), first_id)
        moments = moment_features(rows, start, stop, sound.mask)
        changes = find_change_points(moments.features, moments.per_second, SHORTEST_S, least_score)
        silences = runs(~sound.mask)
        for number, change in enumerate(changes, first_id + 1):
            row = _refined(int(moments.rows[change.row]), mel, silences)
            self.states[row:] = number
            self.scores[number] = change.score
        self.states[~sound.mask] = SILENT

    def reason(self, row: int, before: int, after: int) -> tuple[Rule, float]:
        """Return by which rule the state changes at `row`, and how clearly."""
        if before == SILENT:
            return "onset", self.contrast
        if after == SILENT:
            return "offset", self.contrast
        return "change", self.scores.get(after, 1.0)


def _refined(row: int, mel: NDArray[np.float64], silences: list[tuple[int, int]]) -> int:
    """Return the exact row of a change that the kernel found near `row`.

    Near a silence it is the end of the silence; else the sharpest step of the spectrum nearby.
    """
    near = _NEAR_SILENCE_S * ROWS_PER_SECOND
    for start, stop in silences:
        if start - near <= row <= stop + near:
            return stop
    return sharpest_step(mel, row, round(SHORTEST_S / 2 * ROWS_PER_SECOND))


def sharpest_step(mel: NDArray[np.float64], row: int, reach: int) -> int:
    """Return the row near `row` at which 0.3 s before and 0.3 s after differ most.

    Args:
        mel: `[rows, 64]` mel magnitudes, one row every 10 ms.
        row: Centre of the search; a step there counts twice as much as one `reach` rows away.
        reach: The search range on both sides, in rows.

    Returns:
        The row; `row` itself where the audio is too short to tell.
    """
    side = round(_STEP_S * ROWS_PER_SECOND)
    first, last = max(side, row - reach), min(len(mel) - side, row + reach)
    if first > last:
        return row
    # More than 30 dB below the loudest band, steps are inaudible.
    around = mel[first - side : last + side]
    floor = max(float(around.max()) * 10 ** (-DYNAMIC_RANGE_DB / 20), 1e-9)
    decibel = 20 * np.log10(around + floor)
    sums = np.concatenate([np.zeros((1, mel.shape[1])), decibel.cumsum(axis=0)])
    steps = np.abs(sums[2 * side :] - 2 * sums[side:-side] + sums[: -2 * side]).mean(axis=1)
    places = np.arange(first, last + 1)
    return int(places[np.argmax(steps * (1 - np.abs(places - row) / (2 * reach)))])
