"""The default control-point provider: listens for another sound, for a beginning and an end."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from coprop_plugin.control_points.listening.boundaries import (
    DYNAMIC_RANGE_DB,
    SHORTEST_S,
    SILENT,
    Boundary,
    Listener,
    Moments,
    find_boundaries,
)
from coprop_plugin.control_points.listening.change_points import find_change_points
from coprop_plugin.control_points.listening.mel_rows import ROWS_A_SECOND, SoundRows, sound_rows
from coprop_plugin.control_points.listening.silence import level_db
from coprop_plugin.errors import ClipError
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import Clip, ControlPoints
from coprop_plugin.types.timeline import (
    change_frames,
    segment_starts_s,
    states_of_frames,
)

_POOL = 4
"""Rows of 10 ms in one moment: 40 ms, about one phoneme's steady part."""
# What an embedding hears lasts a second, whatever the frame rate.
_EMBEDDINGS_A_SECOND = 1.0


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
        return heard_changes(clip).points(clip, "novelty")


@dataclass(frozen=True)
class HeardChanges:
    """When the sound of a clip changes, before that is snapped to frames.

    Attributes:
        first_state: The state at the start.
        boundaries: Where it changes.
        seconds: When that is.
        knows_silence: Whether `SILENT` among the states means silence.
    """

    first_state: int
    boundaries: list[Boundary]
    seconds: list[float]
    knows_silence: bool = True

    @property
    def stretches(self) -> list[int]:
        """The state of each stretch between boundaries."""
        return [self.first_state, *(boundary.state for boundary in self.boundaries)]

    def states(self, clip: Clip) -> list[int]:
        """Return the state of every frame."""
        return states_of_frames(self.seconds, clip, self.stretches)

    def points(self, clip: Clip, source: str) -> ControlPoints:
        """Return the control points of `clip`, with the boundaries in the log."""
        seen = self.states(clip)
        log = {
            "boundaries": [
                {"second": round(second, 3), "rule": b.rule, "score": round(b.score, 2)}
                for second, b in zip(self.seconds, self.boundaries, strict=True)
            ]
        }
        known = {}
        if self.knows_silence:
            known["silent"] = torch.tensor([state == SILENT for state in seen])
            known["starts_s"] = segment_starts_s(self.seconds, clip, self.stretches, seen)
        return ControlPoints.from_indices(
            change_frames(seen), clip.num_frames, source, log, **known
        )


def heard_changes(
    clip: Clip, listen: Listener | None = None, least_score: float = 1.0
) -> HeardChanges:
    """Hear when the sound of a clip changes.

    Args:
        clip: A clip with sound in any form.
        listen: What a moment sounds like; by default its spectral shape. A listener of your own
            needs a waveform or log-mels.
        least_score: As in `find_change_points`.

    Raises:
        ClipError: If the clip has no sound in any form.
    """
    embedded = clip.waveform is None and clip.log_mel is None and clip.audio_embedding is not None
    if embedded and listen is None:
        return _of_embeddings(clip, least_score)
    rows = sound_rows(clip)
    first_state, boundaries = find_boundaries(rows, listen or spectral_shapes, least_score)
    return HeardChanges(first_state, boundaries, [rows.seconds(b.row) for b in boundaries])


def spectral_shapes(rows: SoundRows, start: int, stop: int, sounds: NDArray[np.bool_]) -> Moments:
    """Hear moments of 40 ms by the shape of their spectrum, those that are loud enough."""
    mel = rows.mel(start, stop)
    moments = mel[: len(mel) // _POOL * _POOL].reshape(-1, _POOL, mel.shape[1]).mean(axis=1)
    heard = _audible(moments, sounds)
    return Moments(_spectral_shape(moments[heard]), heard * _POOL, ROWS_A_SECOND / _POOL)


def _audible(moments: NDArray[np.float64], sounds: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the moments worth hearing: not silent, not 30 dB below the loud ones."""
    sounding = sounds[: len(moments) * _POOL].reshape(-1, _POOL).mean(axis=1) > 0.5
    if not sounding.any():
        return np.zeros(0, dtype=np.int64)
    level = level_db(moments)
    loud = np.percentile(level[sounding], 90)
    return np.flatnonzero(sounding & (level > loud - DYNAMIC_RANGE_DB))


def _spectral_shape(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the upper 30 dB of each spectrum as a vector of length 1; the level drops out."""
    decibel = 20 * np.log10(np.maximum(mel, 1e-6))
    below_peak = decibel - decibel.max(axis=1, keepdims=True, initial=-120.0)
    shape = np.clip(below_peak / DYNAMIC_RANGE_DB + 1, 0, 1)
    return shape / np.linalg.norm(shape, axis=1, keepdims=True)


def _of_embeddings(clip: Clip, least_score: float) -> HeardChanges:
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
    changes = find_change_points(embedding, _EMBEDDINGS_A_SECOND, SHORTEST_S, least_score)
    boundaries = [Boundary(c.row, state, "change", c.score) for state, c in enumerate(changes, 1)]
    starts_s = clip.spans[:, 0]
    return HeardChanges(0, boundaries, [float(starts_s[c.row]) for c in changes], False)
