"""VGGish's log-mel spectrogram, exactly as the AVSBench front end computes it."""

import warnings
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from coprop_plugin.audio.resample import resample, resample_range
from coprop_plugin.errors import ClipError, ClipWarning
from coprop_plugin.types import AVSBENCH_INSTANT_S, Clip

SAMPLE_RATE = 16_000
HOP = 160
"""Samples from one log-mel frame to the next: 10 ms."""
WINDOW = 400
"""Samples of one log-mel frame: 25 ms."""
NUM_BANDS = 64
EXAMPLE_FRAMES = 96
AVSBENCH_SECONDS = 10
EXAMPLE_SAMPLES = WINDOW + (EXAMPLE_FRAMES - 1) * HOP
"""Samples of one example: 15 600, or 0.975 s."""
EXAMPLE_LEAD_S = EXAMPLE_SAMPLES / SAMPLE_RATE - AVSBENCH_INSTANT_S
"""How far an example extends past its frame: AVSBench takes frame 0 at 15/16 s, while the first
example ends at 0.975 s."""
SILENCE = -4.605170185988091
"""ln(0.01): the log-mel of digital silence."""

_FFT_SIZE = 512
_LOW_HZ, _HIGH_HZ = 125.0, 7500.0
LOG_OFFSET = 0.01
"""What is added to the magnitudes of mel bands before the logarithm."""

# Few enough that the intermediate arrays fit the processor's cache.
_CHUNK_FRAMES = 480


def log_mel(waveform: Tensor, sample_rate: int) -> Tensor:
    """Compute the log-mel spectrogram, one row every 10 ms.

    Row r covers the samples from r * 160 up to, not including, r * 160 + 400 at 16 kHz: magnitude
    of the windowed Fourier transform, 64 HTK mel bands between 125 and 7500 Hz, ln(mel + 0.01).
    Computed in float64, as upstream; without padding, and without an incomplete last window.

    Args:
        waveform: `[samples]`, float in [-1, 1], of any length.
        sample_rate: Its sample rate in Hz; resampled to 16 kHz where it differs.

    Returns:
        `[rows, 64]` float32; no rows for less than 25 ms.

    Raises:
        ClipError: If the waveform is not one-dimensional float.

    Example:
        >>> log_mel(torch.zeros(16_000), 16_000).shape
        torch.Size([98, 64])
    """
    waveform = resample(waveform, sample_rate, SAMPLE_RATE)
    if len(waveform) < WINDOW:
        return waveform.new_empty(0, NUM_BANDS)
    windows = waveform.unfold(0, WINDOW, HOP)
    out = waveform.new_empty(len(windows), NUM_BANDS)
    for first in range(0, len(windows), _CHUNK_FRAMES):
        out[first : first + _CHUNK_FRAMES] = _log_mel_rows(windows[first : first + _CHUNK_FRAMES])
    return out


def log_mel_examples(waveform: Tensor, sample_rate: int) -> Tensor:
    """Cut the log-mel spectrogram into VGGish's examples, as AVSBench's preprocessing does.

    Example i covers the audio from 0.96 i up to 0.96 i + 0.975 s; an incomplete last one is
    dropped. 5 s give 5 examples, 10 s give 10, less than 0.975 s none.

    Args:
        waveform: `[samples]`, float in [-1, 1]; int16 is divided by 32768 by the caller.
        sample_rate: Its sample rate in Hz.

    Returns:
        `[n, 1, 96, 64]` float32: time, then band.

    Raises:
        ClipError: If the waveform is not one-dimensional float.

    Example:
        >>> log_mel_examples(torch.zeros(80_000), 16_000).shape
        torch.Size([5, 1, 96, 64])
    """
    rows = log_mel(waveform, sample_rate)
    num_examples = len(rows) // EXAMPLE_FRAMES
    return rows[: num_examples * EXAMPLE_FRAMES].reshape(-1, 1, EXAMPLE_FRAMES, NUM_BANDS)


def log_mel_at(waveform: Tensor, sample_rate: int, times: Sequence[float] | Tensor) -> Tensor:
    """Compute the example that belongs to each of the given times.

    It is the 0.975 s that end 0.0375 s after that time, as in the training of released AVS
    weights: AVSBench takes frame 0 at 15/16 s and its example ends at 0.975 s. Before the start and
    after the end of the waveform there is silence.

    Args:
        waveform: `[samples]`, float in [-1, 1]; sample 0 is time 0.
        sample_rate: Its sample rate in Hz.
        times: T times in seconds, in any order.

    Returns:
        `[T, 1, 96, 64]` float32.

    Raises:
        ClipError: If the waveform is not one-dimensional float.

    Example:
        >>> log_mel_at(torch.zeros(80_000), 16_000, [0.0, 0.04, 0.08]).shape
        torch.Size([3, 1, 96, 64])
    """
    ends_s = torch.as_tensor(times, dtype=torch.float64).flatten() + EXAMPLE_LEAD_S
    starts = (ends_s * SAMPLE_RATE).round().long() - EXAMPLE_SAMPLES
    shape = (len(starts), 1, EXAMPLE_FRAMES, NUM_BANDS)
    out = torch.empty(shape, dtype=torch.float32, device=waveform.device)
    if not len(starts):
        return out
    # Only the part of a long waveform that is needed is resampled.
    first, last = max(0, int(starts.min())), int(starts.max()) + EXAMPLE_SAMPLES
    waveform = resample_range(waveform, sample_rate, SAMPLE_RATE, first, last)
    starts = starts - first
    offsets = torch.arange(EXAMPLE_SAMPLES)
    examples_a_chunk = _CHUNK_FRAMES // EXAMPLE_FRAMES
    for first in range(0, len(starts), examples_a_chunk):
        places = starts[first : first + examples_a_chunk, None] + offsets
        inside = ((places >= 0) & (places < len(waveform))).to(waveform.device)
        places = places.clamp(0, max(len(waveform) - 1, 0)).to(waveform.device)
        samples = waveform[places] if len(waveform) else waveform.new_zeros(places.shape)
        windows = (samples * inside).unfold(1, WINDOW, HOP)
        out[first : first + len(places), 0] = _log_mel_rows(windows)
    return out


def clip_log_mel(clip: Clip, indices: Sequence[int] | None = None) -> Tensor:
    """Return the VGGish example of every frame of a clip, or of some frames.

    The clip's own `log_mel`, if it has one. With `"avsbench"` sampling AVSBench's examples, the
    one of second s for the frame of second s; if there are fewer of them the last one is repeated,
    as S4 and MS3 do. Otherwise, from second 10 on, and where a frame's audio window ends at another
    time than its own, `log_mel_at` that time: examples are 0.96 s apart, and in clips longer than
    AVSBench's they would run ahead of the frames. For an audio window at another time a clip's own
    `log_mel` does not fit; without a waveform it is returned with a warning.

    Args:
        clip: A clip with a waveform or with log-mels.
        indices: Frame indices; None is all. Only their examples are computed.

    Returns:
        `[T, 1, 96, 64]` float32, or as many rows as indices.

    Warns:
        ClipWarning: If a frame's audio window is at another time, and there is no waveform.

    Raises:
        ClipError: If the clip has neither, or an index lies outside it.

    Example:
        >>> clip_log_mel(Clip(torch.rand(5, 3, 8, 8), torch.zeros(80_000), 16_000)).shape
        torch.Size([5, 1, 96, 64])
    """
    chosen = slice(None) if indices is None else clip.checked(indices)
    if clip.log_mel is not None:
        return _at_listening_times(clip, clip.log_mel[chosen].float(), chosen)
    if clip.waveform is None:
        known = "only audio_embedding" if clip.audio_embedding is not None else "no audio at all"
        raise ClipError(
            f"Expected a clip with a waveform to compute log-mels from, got one with {known}. Give "
            "the clip its waveform, or its log_mel [T, 1, 96, 64]."
        )
    times, numbers = clip.listening_times[chosen], avsbench_examples(clip)[chosen]
    counted = numbers >= 0
    if not bool(counted.any()):
        return log_mel_at(clip.waveform, clip.sample_rate, times)
    examples = torch.empty(len(times), 1, EXAMPLE_FRAMES, NUM_BANDS, dtype=torch.float32)
    examples[counted] = _first_examples(clip)[numbers[counted]]
    if not bool(counted.all()):
        examples[~counted] = log_mel_at(clip.waveform, clip.sample_rate, times[~counted])
    return examples


def _at_listening_times(clip: Clip, examples: Tensor, chosen: slice | list[int]) -> Tensor:
    """Compute the examples of frames whose audio window is not at their own time."""
    times = clip.listening_times[chosen]
    moved = times != clip.times[chosen]
    if not bool(moved.any()):
        return examples
    if clip.waveform is None:
        warn_of_fixed_audio("log-mels without a waveform")
        return examples
    examples = examples.clone()
    examples[moved] = log_mel_at(clip.waveform, clip.sample_rate, times[moved]).to(examples)
    return examples


def warn_of_fixed_audio(form: str) -> None:
    """Warn that keyframes cannot get the audio of their own segment."""
    warnings.warn(
        f"A clip has {form}: keyframes get the audio of their second, which may include the "
        "segment before. Give the clip its waveform instead.",
        ClipWarning,
        stacklevel=3,
    )


def avsbench_examples(clip: Clip) -> Tensor:
    """Return the number of each frame's example in AVSBench, `[T]`; -1 for frames without one.

    Example n is the 0.975 s from 0.96 n s on; see `clip_log_mel` for the frames that have one.

    Example:
        >>> clip = Clip(torch.rand(3, 3, 8, 8), torch.zeros(48_000), sampling="avsbench")
        >>> avsbench_examples(clip)
        tensor([0, 1, 2])
    """
    seconds = clip.times.floor().long()
    counted = (seconds < AVSBENCH_SECONDS) & (clip.listening_times == clip.times)
    if clip.sampling != "avsbench" or clip.waveform is None or not bool(counted.any()):
        return torch.full_like(seconds, -1)
    samples = len(clip.waveform_at(SAMPLE_RATE, 0, _avsbench_samples(clip)))
    rows = max(0, samples - WINDOW) // HOP + 1
    # Audio too short for a single example is padded to the first one.
    last = max(1, rows // EXAMPLE_FRAMES) - 1
    return seconds.clamp_max(last).where(counted, -1)


def _avsbench_samples(clip: Clip) -> int:
    return min(int(clip.times[-1]) + 1, AVSBENCH_SECONDS) * SAMPLE_RATE


def _first_examples(clip: Clip) -> Tensor:
    waveform = clip.waveform_at(SAMPLE_RATE, 0, _avsbench_samples(clip))
    missing = max(0, EXAMPLE_SAMPLES - len(waveform))
    return log_mel_examples(torch.nn.functional.pad(waveform, (0, missing)), SAMPLE_RATE)


@lru_cache(maxsize=1)
def mel_matrix() -> Tensor:
    """Return the weights of 257 Fourier bins in 64 mel bands, `[257, 64]` float64.

    HTK's mel scale; triangles are linear in mel, not in Hz, and the bin of 0 Hz has no weight.
    """
    bins = _mel(torch.linspace(0, SAMPLE_RATE / 2, _FFT_SIZE // 2 + 1, dtype=torch.float64))
    low, high = _mel(torch.tensor([_LOW_HZ, _HIGH_HZ], dtype=torch.float64)).tolist()
    edges = torch.linspace(low, high, NUM_BANDS + 2, dtype=torch.float64)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - left) / (centre - left)
    falling = (right - bins[:, None]) / (right - centre)
    weights = torch.minimum(rising, falling).clamp_min(0)
    weights[0] = 0
    return weights


def _mel(hertz: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(hertz / 700.0)


def _log_mel_rows(windows: Tensor) -> Tensor:
    """Turn windows of samples `[..., 400]` into log-mels `[..., 64]` float32."""
    shape = torch.hann_window(WINDOW, dtype=torch.float64, device=windows.device)
    magnitudes = torch.fft.rfft(windows.double() * shape, _FFT_SIZE).abs()
    return torch.log(magnitudes @ mel_matrix().to(windows.device) + LOG_OFFSET).float()
