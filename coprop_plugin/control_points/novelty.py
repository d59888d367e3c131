"""The default control-point provider: listens for another sound, for a beginning and an end."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from coprop_plugin.control_points.change_points import find_change_points
from coprop_plugin.control_points.silence import find_activity, level_db, runs
from coprop_plugin.control_points.snapping import change_frames, states_of_frames
from coprop_plugin.control_points.sound import MARGIN_S, ROWS_A_SECOND, SoundRows, sound_rows
from coprop_plugin.errors import ClipError
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import Clip, ControlPoints

SILENT = -1
_POOL = 4
"""Rows of 10 ms in one moment: 40 ms, about one phoneme's steady part."""
_DYNAMIC_RANGE_DB = 30.0
_SHORTEST_S = 0.5
_NEAR_SILENCE_S = 0.3
# A syllable and a pause: longer than what makes a step within a source.
_STEP_S = 0.3
_CHUNK_S = 60
# What an embedding hears lasts a second, whatever the frame rate.
_EMBEDDINGS_A_SECOND = 1.0


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


@PROVIDERS.register_module(name=["NoveltyProvider", "novelty"])
class NoveltyProvider:
    """Puts control points where the sound becomes another one, begins, or ends. Nothing to tune.

    Spectral shapes of 40 ms, whatever their level, are cut where their distribution changes (see
    `find_change_points`); silence is what stays near the quietest moment (see `find_activity`);
    both are snapped to frames (see `states_of_frames`). Works from a waveform, from log-mels, or
    from one embedding a frame. Cost and memory grow with the length of the sound, not faster.

    The log holds `boundaries` (second, rule, score) before snapping. Frames in silence are marked
    `silent`, unless only embeddings are known.

    Example:
        >>> import torch
        >>> t = torch.arange(5 * 16_000) / 16_000
        >>> tones = torch.where(t < 3, torch.sin(2000 * t), torch.sin(9000 * t))
        >>> clip = Clip(torch.rand(5, 3, 8, 8), 0.3 * tones, 16_000, sampling="avsbench")
        >>> NoveltyProvider().propose(clip).indices
        [0, 3]
    """

    def propose(self, clip: Clip) -> ControlPoints:
        """Return the frames at which the sound changes.

        Raises:
            ClipError: If the clip has no sound in any form.
        """
        if clip.waveform is None and clip.log_mel is None and clip.audio_embedding is not None:
            return _from_embeddings(clip)
        rows = sound_rows(clip)
        first_state, boundaries = find_boundaries(rows)
        seconds = [rows.seconds(boundary.row) for boundary in boundaries]
        states = [first_state, *(boundary.state for boundary in boundaries)]
        seen = states_of_frames(seconds, clip, states)
        log = {
            "boundaries": [
                {"second": round(second, 3), "rule": b.rule, "score": round(b.score, 2)}
                for second, b in zip(seconds, boundaries, strict=True)
            ]
        }
        points = ControlPoints.from_indices(change_frames(seen), clip.num_frames, "novelty", log)
        return replace(points, silent=torch.tensor([state == SILENT for state in seen]))


def find_boundaries(rows: SoundRows) -> tuple[int, list[Boundary]]:
    """Find where the state of a sound changes.

    A long sound is heard a minute at a time, each minute with 5 s of what surrounds it.

    Args:
        rows: The sound.

    Returns:
        The state at the start, and the boundaries by rising row.
    """
    boundaries: list[Boundary] = []
    first_state = SILENT
    state, next_id = SILENT, 0
    for start, stop, keep_from, keep_to in _chunks(len(rows)):
        chunk = _Chunk(rows.mel(start, stop), next_id)
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

    def __init__(self, mel: NDArray[np.float64], first_id: int) -> None:
        activity = find_activity(mel)
        self.contrast = activity.contrast
        self.scores: dict[int, float] = {}
        self.states = np.full(len(mel), first_id)
        moments = mel[: len(mel) // _POOL * _POOL].reshape(-1, _POOL, mel.shape[1]).mean(axis=1)
        heard = _audible(moments, activity.sounds)
        changes = find_change_points(
            _spectral_shape(moments[heard]), ROWS_A_SECOND / _POOL, _SHORTEST_S
        )
        silences = runs(~activity.sounds)
        for number, change in enumerate(changes, first_id + 1):
            row = _place(int(heard[change.row]) * _POOL, mel, silences)
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


def _audible(moments: NDArray[np.float64], sounds: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the moments worth hearing: not silent, not 30 dB below the loud ones."""
    sounding = sounds[: len(moments) * _POOL].reshape(-1, _POOL).mean(axis=1) > 0.5
    if not sounding.any():
        return np.zeros(0, dtype=np.int64)
    level = level_db(moments)
    loud = np.percentile(level[sounding], 90)
    return np.flatnonzero(sounding & (level > loud - _DYNAMIC_RANGE_DB))


def _spectral_shape(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the upper 30 dB of each spectrum as a vector of length 1; the level drops out."""
    decibel = 20 * np.log10(np.maximum(mel, 1e-6))
    below_peak = decibel - decibel.max(axis=1, keepdims=True, initial=-120.0)
    shape = np.clip(below_peak / _DYNAMIC_RANGE_DB + 1, 0, 1)
    return shape / np.linalg.norm(shape, axis=1, keepdims=True)


def _place(row: int, mel: NDArray[np.float64], silences: list[tuple[int, int]]) -> int:
    """Return the exact row of a change that the kernel found near `row`.

    At a silence nearby it is the silence's end; else the sharpest step of the spectrum nearby.
    """
    near = _NEAR_SILENCE_S * ROWS_A_SECOND
    for start, stop in silences:
        if start - near <= row <= stop + near:
            return stop
    reach, side = round(_SHORTEST_S / 2 * ROWS_A_SECOND), round(_STEP_S * ROWS_A_SECOND)
    first, last = max(side, row - reach), min(len(mel) - side, row + reach)
    if first > last:
        return row
    # 30 dB below the loudest band there is nothing that a listener would call a step.
    around = mel[first - side : last + side]
    decibel = 20 * np.log10(around + around.max() * 10 ** (-_DYNAMIC_RANGE_DB / 20))
    sums = np.concatenate([np.zeros((1, mel.shape[1])), decibel.cumsum(axis=0)])
    steps = np.abs(sums[2 * side :] - 2 * sums[side:-side] + sums[: -2 * side]).mean(axis=1)
    places = np.arange(first, last + 1)
    return int(places[np.argmax(steps * (1 - np.abs(places - row) / (2 * reach)))])


def _from_embeddings(clip: Clip) -> ControlPoints:
    """Find changes where only one embedding a frame is known: no silence, no finer than frames."""
    embedding = clip.audio_embedding.detach().double().cpu().flatten(1).numpy()
    if not np.isfinite(embedding).all():
        raise ClipError(
            "Got an audio_embedding with NaN or infinite values. Replace them with "
            "`audio_embedding.nan_to_num(0)` if silence there is what you want."
        )
    # One more dimension, so that an embedding of zeros has a direction too.
    size = np.linalg.norm(embedding, axis=1, keepdims=True)
    constant = np.full_like(size, 1e-3 * max(float(size.max()), 1e-6))
    embedding = np.concatenate([embedding, constant], axis=1)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    changes = find_change_points(embedding, _EMBEDDINGS_A_SECOND, _SHORTEST_S)
    log = {
        "boundaries": [
            {
                "second": round(float(clip.times[c.row]), 3),
                "rule": "change",
                "score": round(c.score, 2),
            }
            for c in changes
        ],
    }
    frames = [0, *(c.row for c in changes)]
    return ControlPoints.from_indices(frames, clip.num_frames, "novelty", log)
