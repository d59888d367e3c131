"""The sound of a clip as rows of mel magnitudes, from whatever the clip knows of it."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from coprop_plugin.audio.log_mel import (
    EXAMPLE_FRAMES,
    HOP,
    NUM_BANDS,
    SAMPLE_RATE,
    WINDOW,
    log_mel,
)
from coprop_plugin.audio.resample import resample_stretch, resampled_length
from coprop_plugin.errors import ClipError
from coprop_plugin.types import Clip

ROWS_A_SECOND = 100
MARGIN_S = 5
"""How much of the sound around a stretch of frames is heard with it."""
_LOG_OFFSET = 0.01
# A window of 25 ms sees a change first when the change is in its middle.
_ROW_CENTRE_S = 0.0125


class LogMels:
    """The rows that `log_mel` computes of a waveform, computed as stretches of them are asked for.

    Args:
        waveform: `[samples]`, of any length.
        sample_rate: In Hz.
        start: The sample to begin with.
        length: Samples from there on; silence where there are no more.
    """

    def __init__(self, waveform: Tensor, sample_rate: int, start: int, length: int) -> None:
        self._waveform, self._rate = waveform, sample_rate
        self._start = resampled_length(start, sample_rate, SAMPLE_RATE)
        samples = resampled_length(length, sample_rate, SAMPLE_RATE)
        self._rows = max(0, (samples - WINDOW) // HOP + 1)

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, rows: slice) -> Tensor:
        first, last, _ = rows.indices(self._rows)
        begin, samples = self._start + first * HOP, (last - first - 1) * HOP + WINDOW
        heard = resample_stretch(self._waveform, self._rate, SAMPLE_RATE, begin, begin + samples)
        return log_mel(pad(heard, (0, samples - len(heard))), SAMPLE_RATE)


@dataclass(frozen=True)
class SoundRows:
    """Log-mels of a clip, one row every 10 ms, and where in time they lie.

    Attributes:
        log_mel: `[rows, 64]`.
        corners: Row numbers and their seconds, both rising; between them time runs evenly.
    """

    log_mel: Tensor | LogMels
    corners: tuple[NDArray[np.float64], NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.log_mel)

    def seconds(self, row: float) -> float:
        """Return the time of a change that row `row` is the first to hear."""
        rows, seconds = self.corners
        return float(np.interp(row, rows, seconds))

    def mel(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the magnitudes of rows start..stop-1, `[stop - start, 64]`, not negative."""
        log_mel = self.log_mel[start:stop].double().cpu().numpy()
        return np.maximum(np.exp(log_mel) - _LOG_OFFSET, 0)


def sound_rows(clip: Clip) -> SoundRows:
    """Return the log-mels of a clip: of its waveform, or its frames' examples end to end.

    A waveform is heard from 5 s before the first frame to 5 s after the last one; where it ends
    before the last frame, silence follows. Of examples that overlap, as those of a high frame rate
    do, only what is new is taken.

    Raises:
        ClipError: If the clip has neither, or its examples are not `[T, 1, 96, 64]`.
    """
    if clip.waveform is not None:
        return _around_frames(clip)
    if clip.log_mel is None:
        raise ClipError(
            "Got a clip with no sound at all: no waveform, log_mel or audio_embedding. Control "
            "points are heard; give it one of them, or use `control_points='every_n'`."
        )
    wanted = (clip.num_frames, 1, EXAMPLE_FRAMES, NUM_BANDS)
    if tuple(clip.log_mel.shape) != wanted:
        raise ClipError(
            f"Got log_mel of shape {list(clip.log_mel.shape)}; wanted {list(wanted)}, the VGGish "
            "example of each frame, as `coprop_plugin.audio.log_mel.clip_log_mel` gives it."
        )
    return _laid_end_to_end(clip)


def waveform_around(clip: Clip) -> tuple[Tensor, int]:
    """Return what is heard of a clip's waveform, and at which second that begins.

    From 5 s before the first frame to 5 s after the last one; where the waveform ends before the
    last frame, silence follows.

    Returns:
        `[samples]` at the clip's own rate, and whole seconds.

    Raises:
        ClipError: If the clip has no waveform.
    """
    if clip.waveform is None:
        raise ClipError(
            "This clip has no waveform, only what a wrapped model was called with. Use "
            "`segment()` with a file or a Clip, or a provider that needs no waveform: 'novelty'."
        )
    start_s, first, length = _place_around(clip)
    waveform = clip.waveform[first : first + length]
    return pad(waveform, (0, length - len(waveform))), start_s


def _place_around(clip: Clip) -> tuple[int, int, int]:
    """Return where what is heard begins, in seconds and samples, and how many samples it has."""
    first_s, last_s = float(clip.times[0]), float(clip.times[-1])
    if clip.sampling == "avsbench":
        first_s, last_s = float(clip.spans[0, 0]), float(clip.spans[-1, 1])
    rate = clip.sample_rate
    start_s = max(0, math.floor(first_s) - MARGIN_S)
    first, stop = start_s * rate, math.ceil((last_s + MARGIN_S) * rate)
    there = max(0, min(stop, len(clip.waveform)) - first)
    return start_s, first, max(there, math.ceil((last_s - start_s) * rate))


def _around_frames(clip: Clip) -> SoundRows:
    start_s, first, length = _place_around(clip)
    # Stretch by stretch wherever the sound is, so that a stream hears what a whole clip does.
    rows = LogMels(clip.waveform, clip.sample_rate, first, length)
    last = max(len(rows), 1)
    ends_s = start_s + np.array([0.0, last / ROWS_A_SECOND]) + _ROW_CENTRE_S
    return SoundRows(rows, (np.array([0.0, last]), ends_s))


def _laid_end_to_end(clip: Clip) -> SoundRows:
    """Lay the examples of a clip end to end.

    With `"avsbench"` sampling an example fills its frame's second. With `"pts"` sampling it ends at
    its frame's time stamp, and fills the time from the frame before.
    """
    spans = clip.spans.numpy()
    lengths_s = spans[:, 1] - spans[:, 0]
    if clip.sampling == "avsbench":
        ends_s = spans[:, 1]
    else:
        lengths_s = np.concatenate([lengths_s[:1], lengths_s[:-1]])
        ends_s = clip.times.numpy()
    counts = np.clip(np.round(lengths_s * ROWS_A_SECOND), 1, EXAMPLE_FRAMES).astype(int)
    examples = clip.log_mel.detach()[:, 0].float()
    rows = [example[-count:] for example, count in zip(examples, counts, strict=True)]
    row_corners = np.concatenate([[0.0], np.cumsum(counts)])
    second_corners = np.concatenate([[ends_s[0] - lengths_s[0]], ends_s])
    return SoundRows(torch.cat(rows), (row_corners, second_corners))
