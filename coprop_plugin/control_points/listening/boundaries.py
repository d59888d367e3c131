"""Where the state of a sound changes: it becomes another one, begins, or ends."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coprop_plugin.control_points.listening.change_points import find_change_points
from coprop_plugin.control_points.listening.mel_rows import MARGIN_S, ROWS_A_SECOND, SoundRows
from coprop_plugin.control_points.listening.silence import find_activity, runs

SILENT = -1
DYNAMIC_RANGE_DB = 30.0
"""What is further below the loudest is not heard."""
SHORTEST_S = 0.5
_NEAR_SILENCE_S = 0.3
# A syllable and a pause: longer than what makes a step within a source.
_STEP_S = 0.3
_CHUNK_S = 60


@dataclass(frozen=True)
class Boundary:
    """A place where the state of the sound changes.

    Attributes:
        row: The first row of the new state.
        state: The new state: -1 is silence, other numbers are different sounds.
        rule: `"change"`, `"onset"` or `"offset"`.
        score: How clear it is; 1 is just clear enough.
    """

    row: int
    state: int
    rule: str
    score: float


@dataclass(frozen=True)
class Moments:
    """Moments of a stretch of sound, in which changes are looked for.

    Attributes:
        features: `[moments, dims]`, each of length 1.
        rows: `[moments]`, the row of the stretch with which each begins, rising.
        rows_a_second: How many moments make a second.
    """

    features: NDArray[np.float64]
    rows: NDArray[np.int64]
    rows_a_second: float


Listener = Callable[[SoundRows, int, int, NDArray[np.bool_]], Moments]
"""Hears rows start..stop-1 of a sound, of which some are silent (false); returns its moments."""


def find_boundaries(
    rows: SoundRows, listen: Listener, least_score: float = 1.0
) -> tuple[int, list[Boundary]]:
    """Find where the state of a sound changes.

    A long sound is heard a minute at a time, each minute with 5 s of what surrounds it.

    Args:
        rows: The sound.
        listen: What a moment sounds like.
        least_score: As in `find_change_points`.

    Returns:
        The state at the start, and the boundaries by rising row.
    """
    boundaries: list[Boundary] = []
    first_state = SILENT
    state, next_id = SILENT, 0
    for start, stop, keep_from, keep_to in _chunks(len(rows)):
        chunk = _Chunk(rows, start, stop, next_id, listen, least_score)
        next_id = int(chunk.states.max(initial=next_id)) + 1
        states = chunk.states[keep_from - start : keep_to - start]
        if keep_from == 0:
            state = first_state = int(states[0])
        # A sound that goes on over the seam is the one it was.
        elif state != SILENT and states[0] != SILENT:
            states = np.where(states == states[0], state, states)
        for row in np.flatnonzero(np.diff(states, prepend=state)):
            new_state = int(states[row])
            rule, score = chunk.reason(int(row) + keep_from - start, state, new_state)
            boundaries.append(Boundary(int(row) + keep_from, new_state, rule, score))
            state = new_state
    return first_state, boundaries


def _chunks(num_rows: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield what to hear (start, stop) and what to keep of it (from, to), in rows."""
    length, margin = _CHUNK_S * ROWS_A_SECOND, MARGIN_S * ROWS_A_SECOND
    for keep_from in range(0, num_rows, length):
        keep_to = min(keep_from + length, num_rows)
        yield max(0, keep_from - margin), min(num_rows, keep_to + margin), keep_from, keep_to


class _Chunk:
    """The states of a minute of sound."""

    def __init__(
        self,
        rows: SoundRows,
        start: int,
        stop: int,
        first_id: int,
        listen: Listener,
        least_score: float,
    ) -> None:
        mel = rows.mel(start, stop)
        activity = find_activity(mel)
        self.contrast = activity.contrast
        self.scores: dict[int, float] = {}
        self.states = np.full(len(mel), first_id)
        heard = listen(rows, start, stop, activity.sounds)
        changes = find_change_points(heard.features, heard.rows_a_second, SHORTEST_S, least_score)
        silences = runs(~activity.sounds)
        for number, change in enumerate(changes, first_id + 1):
            row = _place(int(heard.rows[change.row]), mel, silences)
            self.states[row:] = number
            self.scores[number] = change.score
        self.states[~activity.sounds] = SILENT

    def reason(self, row: int, before: int, after: int) -> tuple[str, float]:
        """Return by which rule the state changes at `row`, and how clearly."""
        if before == SILENT:
            return "onset", self.contrast
        if after == SILENT:
            return "offset", self.contrast
        return "change", self.scores.get(after, 1.0)


def _place(row: int, mel: NDArray[np.float64], silences: list[tuple[int, int]]) -> int:
    """Return the exact row of a change that the kernel found near `row`.

    At a silence nearby it is the silence's end; else the sharpest step of the spectrum nearby.
    """
    near = _NEAR_SILENCE_S * ROWS_A_SECOND
    for start, stop in silences:
        if start - near <= row <= stop + near:
            return stop
    return sharpest_step(mel, row, round(SHORTEST_S / 2 * ROWS_A_SECOND))


def sharpest_step(mel: NDArray[np.float64], row: int, reach: int) -> int:
    """Return the row near `row` at which 0.3 s before and 0.3 s after differ most.

    Args:
        mel: `[rows, 64]` mel magnitudes, one row every 10 ms.
        row: Where to look; what is nearer counts more, twice as much as what is `reach` away.
        reach: How many rows away at most.

    Returns:
        The row; `row` itself where the sound is too short to tell.
    """
    side = round(_STEP_S * ROWS_A_SECOND)
    first, last = max(side, row - reach), min(len(mel) - side, row + reach)
    if first > last:
        return row
    # 30 dB below the loudest band there is nothing that a listener would call a step.
    around = mel[first - side : last + side]
    floor = max(float(around.max()) * 10 ** (-DYNAMIC_RANGE_DB / 20), 1e-9)
    decibel = 20 * np.log10(around + floor)
    sums = np.concatenate([np.zeros((1, mel.shape[1])), decibel.cumsum(axis=0)])
    steps = np.abs(sums[2 * side :] - 2 * sums[side:-side] + sums[: -2 * side]).mean(axis=1)
    places = np.arange(first, last + 1)
    return int(places[np.argmax(steps * (1 - np.abs(places - row) / (2 * reach)))])
