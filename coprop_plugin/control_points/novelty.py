"""The default control-point provider: changes, onsets and offsets of the audio."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coprop_plugin.control_points.listening.boundaries import (
    DYNAMIC_RANGE_DB,
    SHORTEST_S,
    SILENT,
    Boundary,
    MomentFeatures,
    Moments,
    find_boundaries,
)
from coprop_plugin.control_points.listening.change_points import find_change_points
from coprop_plugin.control_points.listening.mel_rows import (
    ROWS_PER_SECOND,
    MelRows,
    clip_mel_rows,
)
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
"""Rows of 10 ms per moment: 40 ms, about the steady part of one phoneme."""
# An embedding covers about a second, whatever the frame rate.
_EMBEDDINGS_PER_SECOND = 1.0


@PROVIDERS.register_module(name=["NoveltyProvider", "novelty"])
class NoveltyProvider:
    """Control points where the audio changes into another sound, begins, or ends. No options.

    Spectral shapes of 40 ms, at any level, are split where their distribution changes (see
    `find_change_points`); silence is what stays near the quietest moment (see `find_sound`); both
    are snapped to frames (see `states_of_frames`). Works from a waveform, from log-mels, or from
    one embedding per frame. Time and memory are linear in the length of the audio.

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
        """Return the frames at which the audio changes.

        Raises:
            ClipError: If the clip has no audio in any form.
        """
        return find_audio_changes(clip).points(clip, "novelty")


@dataclass(frozen=True)
class AudioChanges:
    """The changes of a clip's audio, before they are snapped to frames.

    Attributes:
        first_state: The state at the start.
        boundaries: The changes.
        seconds: The time of each change.
        knows_silence: Whether `SILENT` among the states means silence.
    """

    first_state: int
    boundaries: list[Boundary]
    seconds: list[float]
    knows_silence: bool = True

    @property
    def states(self) -> list[int]:
        """The states before, between and after the boundaries."""
        return [self.first_state, *(boundary.state for boundary in self.boundaries)]

    def frame_states(self, clip: Clip) -> list[int]:
        """Return the state of every frame."""
        return cast(list[int], states_of_frames(self.seconds, clip, self.states))

    def points(self, clip: Clip, source: str) -> ControlPoints:
        """Return the control points of `clip`, with the boundaries in the log."""
        frame_states = self.frame_states(clip)
        log = {
            "boundaries": [
                {"second": round(second, 3), "rule": b.rule, "score": round(b.score, 2)}
                for second, b in zip(self.seconds, self.boundaries, strict=True)
            ]
        }
        known: dict[str, Any] = {}
        if self.knows_silence:
            known["silent"] = torch.tensor([state == SILENT for state in frame_states])
            known["starts_s"] = segment_starts_s(self.seconds, clip, self.states, frame_states)
        return ControlPoints.from_indices(
            change_frames(frame_states), clip.num_frames, source, log, **known
        )


def find_audio_changes(
    clip: Clip, moment_features: MomentFeatures | None = None, least_score: float = 1.0
) -> AudioChanges:
    """Find when the audio of a clip changes.

    Args:
        clip: A clip with audio in any form.
        moment_features: Features of the moments of the audio; by default their spectral shapes.
            Other features need a waveform or log-mels.
        least_score: As in `find_change_points`.

    Raises:
        ClipError: If the clip has no audio in any form.
    """
    embedding = clip.audio_embedding
    has_rows = clip.waveform is not None or clip.log_mel is not None
    if embedding is not None and not has_rows and moment_features is None:
        return _of_embeddings(clip, embedding, least_score)
    rows = clip_mel_rows(clip)
    features = moment_features or spectral_shapes
    first_state, boundaries = find_boundaries(rows, features, least_score)
    return AudioChanges(first_state, boundaries, [rows.seconds(b.row) for b in boundaries])


def spectral_shapes(rows: MelRows, start: int, stop: int, sounds: NDArray[np.bool_]) -> Moments:
    """Return the spectral shapes of moments of 40 ms, those that are loud enough."""
    mel = rows.mel(start, stop)
    moments = mel[: len(mel) // _POOL * _POOL].reshape(-1, _POOL, mel.shape[1]).mean(axis=1)
    audible = _audible(moments, sounds)
    return Moments(_spectral_shape(moments[audible]), audible * _POOL, ROWS_PER_SECOND / _POOL)


def _audible(moments: NDArray[np.float64], sounds: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the moments that are neither silent nor 30 dB below the loud ones."""
    sounding = sounds[: len(moments) * _POOL].reshape(-1, _POOL).mean(axis=1) > 0.5
    if not sounding.any():
        return np.zeros(0, dtype=np.int64)
    level = level_db(moments)
    loud = np.percentile(level[sounding], 90)
    return np.flatnonzero(sounding & (level > loud - DYNAMIC_RANGE_DB))


def _spectral_shape(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the upper 30 dB of each spectrum as a vector of length 1, independent of level."""
    decibel = 20 * np.log10(np.maximum(mel, 1e-6))
    below_peak = decibel - decibel.max(axis=1, keepdims=True, initial=-120.0)
    shape = np.clip(below_peak / DYNAMIC_RANGE_DB + 1, 0, 1)
    return shape / np.linalg.norm(shape, axis=1, keepdims=True)


def _of_embeddings(clip: Clip, audio_embedding: Tensor, least_score: float) -> AudioChanges:
    """Find changes from one embedding per frame: to a frame, and without silence."""
    embedding = audio_embedding.detach().double().cpu().flatten(1).numpy()
    if not np.isfinite(embedding).all():
        raise ClipError(
            "Expected a finite audio_embedding, got NaN or infinite values. To treat them as "
            "silence, use `audio_embedding.nan_to_num(0)`."
        )
    # One more dimension, so that an embedding of zeros has a direction, too.
    size = np.linalg.norm(embedding, axis=1, keepdims=True)
    constant = np.full_like(size, 1e-3 * max(float(size.max()), 1e-6))
    embedding = np.concatenate([embedding, constant], axis=1)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    changes = find_change_points(embedding, _EMBEDDINGS_PER_SECOND, SHORTEST_S, least_score)
    boundaries = [Boundary(c.row, state, "change", c.score) for state, c in enumerate(changes, 1)]
    starts_s = clip.spans[:, 0]
    return AudioChanges(0, boundaries, [float(starts_s[c.row]) for c in changes], False)
