"""The audio of a clip as mel magnitudes, one row every 10 ms, from a waveform or from log-mels."""

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
    LOG_OFFSET,
    NUM_BANDS,
    SAMPLE_RATE,
    WINDOW,
    log_mel,
)
from coprop_plugin.audio.resample import resample_range, resampled_length
from coprop_plugin.errors import ClipError
from coprop_plugin.types import Clip

ROWS_PER_SECOND = 100
MARGIN_S = 5
"""How much audio before the first and after the last frame is used."""
# The window of 25 ms responds to a change first when the change is in its middle.
_ROW_CENTRE_S = 0.0125


class LazyLogMel:
    """The rows that `log_mel` computes from a waveform, computed when they are indexed.

    Args:
        waveform: `[samples]`, of any length.
        sample_rate: In Hz.
        start: The first sample.
        length: Number of samples; silence after the end of the waveform.
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
        part = resample_range(self._waveform, self._rate, SAMPLE_RATE, begin, begin + samples)
        return log_mel(pad(part, (0, samples - len(part))), SAMPLE_RATE)


@dataclass(frozen=True)
class MelRows:
    """Log-mels of a clip, one row every 10 ms, and their times.

    Attributes:
        log_mel: `[rows, 64]`.
        corners: Row numbers and their seconds, both rising; time is linear between them.
    """

    log_mel: Tensor | LazyLogMel
    corners: tuple[NDArray[np.float64], NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.log_mel)

    def seconds(self, row: float) -> float:
        """Return the time of a change that first shows in row `row`."""
        rows, seconds = self.corners
        return float(np.interp(row, rows, seconds))

    def mel(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the magnitudes of rows start..stop-1, `[stop - start, 64]`, not negative."""
        log_mel = self.log_mel[start:stop].double().cpu().numpy()
        return np.maximum(np.exp(log_mel) - LOG_OFFSET, 0)


def clip_mel_rows(clip: Clip) -> MelRows:
    """Return the log-mels of a clip: of its waveform, or its frames' examples end to end.

    A waveform is used from 5 s before the first frame to 5 s after the last one; where it ends
    before the last frame, silence follows. Where examples overlap, as those of a high frame rate
    do, only the new part of each is used.

    Raises:
        ClipError: If the clip has neither, or its examples are not `[T, 1, 96, 64]`.
    """
    if clip.waveform is not None:
        return _of_waveform(clip, clip.waveform)
    if clip.log_mel is None:
        raise ClipError(
            "Expected a clip with audio, got one without waveform, log_mel or audio_embedding. "
            "Control points come from the audio; add one of them, or use "
            "`control_points='every_n'`."
        )
    expected = (clip.num_frames, 1, EXAMPLE_FRAMES, NUM_BANDS)
    if tuple(clip.log_mel.shape) != expected:
        raise ClipError(
            f"Expected log_mel of shape {list(expected)}, the VGGish example of each frame, got "
            f"{list(clip.log_mel.shape)}. Use `coprop_plugin.audio.log_mel.clip_log_mel`."
        )
    return _of_examples(clip, clip.log_mel)


def waveform_around(clip: Clip) -> tuple[Tensor, int]:
    """Return the part of a clip's waveform that belongs to its frames, and when it begins.

    From 5 s before the first frame to 5 s after the last one; where the waveform ends before the
    last frame, silence follows.

    Returns:
        `[samples]` at the clip's own rate, and whole seconds.

    Raises:
        ClipError: If the clip has no waveform.
    """
    if clip.waveform is None:
        raise ClipError(
            "Expected a clip with a waveform, got one with the inputs of a model's own call. Use "
            "`segment()` with a file or a Clip, or a provider that needs no waveform: 'novelty'."
        )
    start_s, first, length = _range_around(clip, clip.waveform)
    waveform = clip.waveform[first : first + length]
    return pad(waveform, (0, length - len(waveform))), start_s


def _range_around(clip: Clip, waveform: Tensor) -> tuple[int, int, int]:
    """Return the start in seconds and in samples, and the number of samples."""
    first_s, last_s = float(clip.times[0]), float(clip.times[-1])
    if clip.sampling == "avsbench":
        first_s, last_s = float(clip.spans[0, 0]), float(clip.spans[-1, 1])
    rate = clip.sample_rate
    start_s = max(0, math.floor(first_s) - MARGIN_S)
    first, stop = start_s * rate, math.ceil((last_s + MARGIN_S) * rate)
    available = max(0, min(stop, len(waveform)) - first)
    return start_s, first, max(available, math.ceil((last_s - start_s) * rate))


def _of_waveform(clip: Clip, waveform: Tensor) -> MelRows:
    start_s, first, length = _range_around(clip, waveform)
    # Lazily, wherever the waveform is stored, so that a stream gets the rows of a whole clip.
    rows = LazyLogMel(waveform, clip.sample_rate, first, length)
    last = max(len(rows), 1)
    ends_s = start_s + np.array([0.0, last / ROWS_PER_SECOND]) + _ROW_CENTRE_S
    return MelRows(rows, (np.array([0.0, last]), ends_s))


def _of_examples(clip: Clip, log_mel: Tensor) -> MelRows:
    """Concatenate the examples of a clip.

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
    counts = np.clip(np.round(lengths_s * ROWS_PER_SECOND), 1, EXAMPLE_FRAMES).astype(int)
    examples = log_mel.detach()[:, 0].float()
    rows = [example[-count:] for example, count in zip(examples, counts, strict=True)]
    row_corners = np.concatenate([[0.0], np.cumsum(counts)])
    second_corners = np.concatenate([[ends_s[0] - lengths_s[0]], ends_s])
    return MelRows(torch.cat(rows), (row_corners, second_corners))
