"""CAVP's spectrograms: the power of 64 mel bands in decibels."""

import torch
from torch import Tensor

from coprop_plugin.audio.log_mel import (
    EXAMPLE_FRAMES,
    HOP,
    LOG_OFFSET,
    NUM_BANDS,
    SAMPLE_RATE,
    WINDOW,
)

_FFT_SIZE = 512
_LOW_HZ, _HIGH_HZ = 125.0, 3800.0
_LEAST_POWER = 1e-5
# Decibels from -100 to 100 are mapped to -1 to 1.
_FULL_SCALE_DB = 100.0


def decibel_mel(seconds: Tensor) -> Tensor:
    """Return the spectrograms of seconds of sound, as CAVP's trainer computes them.

    Power of the centred Fourier transform (Hann window of 25 ms, every 10 ms), 64 HTK mel bands
    between 125 and 3800 Hz, 20 log10 of at least 1e-5, divided by 100; the first 0.96 s.

    Args:
        seconds: `[K, 16000]`, float in [-1, 1], at 16 kHz.

    Returns:
        `[K, 1, 96, 64]`: time, then band.

    Example:
        >>> decibel_mel(torch.zeros(1, 16_000)).unique()
        tensor([-1.])
    """
    window = torch.hann_window(WINDOW, device=seconds.device)
    spectrum = torch.stft(
        seconds,
        _FFT_SIZE,
        HOP,
        WINDOW,
        window,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    bands = torch.einsum("kft,fb->ktb", spectrum.abs().square(), _bands().to(seconds))
    decibels = 20 * bands[:, :EXAMPLE_FRAMES].clamp_min(_LEAST_POWER).log10()
    return decibels[:, None] / _FULL_SCALE_DB


def as_log_mel(spectrograms: Tensor) -> Tensor:
    """Return about the log-mels of CAVP's spectrograms, for what listens to a call's clips.

    Args:
        spectrograms: `[N, 1, 96, 64]`.

    Returns:
        ln(magnitude + 0.01), of the same shape; its bands reach to 3800 Hz instead of 7500.
    """
    magnitude = 10 ** (spectrograms.float() * _FULL_SCALE_DB / 40)
    return (magnitude - _LEAST_POWER**0.5 + LOG_OFFSET).log()


def _bands() -> Tensor:
    """Triangles that are linear in hertz between mel-spaced corners, `[257, 64]`."""
    low, high = (2595 * torch.tensor(1 + hz / 700).log10() for hz in (_LOW_HZ, _HIGH_HZ))
    mels = torch.linspace(float(low), float(high), NUM_BANDS + 2)
    corners = 700 * (10 ** (mels / 2595) - 1)
    hertz = torch.linspace(0, SAMPLE_RATE / 2, _FFT_SIZE // 2 + 1)[:, None]
    left, middle, right = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (hertz - left) / (middle - left), (right - hertz) / (right - middle)
    return torch.minimum(rising, falling).clamp_min(0)
