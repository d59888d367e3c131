"""Changes of a sound between its source and a file: rooms, noise, gain, codecs."""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from coprop_plugin.training.sound_folder import RATE, Wave


def at_speed(waveform: Wave, factor: float) -> Wave:
    """Play a sound faster, and higher, by a factor.

    Example:
        >>> len(at_speed(np.zeros(100, np.float32), 2.0))
        50
    """
    if factor == 1.0 or len(waveform) < 2:
        return waveform
    places = np.arange(0, len(waveform) - 1, factor)
    before = places.astype(np.int64)
    share = (places - before).astype(np.float32)
    return waveform[before] * (1 - share) + waveform[before + 1] * share


def tilted(waveform: Wave, tilt: float) -> Wave:
    """Make a sound darker (tilt < 0) or brighter (tilt > 0); tilt from -0.9 to 0.9."""
    if tilt >= 0:
        shaped = _filtered([1.0, -tilt], [1.0], waveform)
    else:
        shaped = _filtered([1.0 + tilt], [1.0, tilt], waveform)
    return _with_power_of(waveform, shaped)


def in_room(waveform: Wave, rng: np.random.Generator) -> Wave:
    """Add the reverberation of a random room; the length stays the same."""
    from scipy.signal import fftconvolve

    decay_s = float(rng.uniform(0.1, 0.7))
    t = np.arange(int(decay_s * RATE)) / RATE
    response = rng.standard_normal(len(t)) * np.exp(-6.9 * t / decay_s)
    response *= rng.uniform(0.1, 0.6) / np.sqrt((response**2).sum())
    response[0] = 1.0
    return cast(Wave, fftconvolve(waveform, response)[: len(waveform)].astype(np.float32))


def background(length: int, rng: np.random.Generator) -> Wave:
    """Return steady or slowly swelling noise of a random colour, with RMS 1."""
    from scipy.fft import irfft, next_fast_len, rfft

    # The transform of a prime length takes many times as long.
    count = next_fast_len(length, real=True)
    spectrum = rfft(rng.standard_normal(count, np.float32))
    f = np.fft.rfftfreq(count, 1 / RATE).astype(np.float32)
    shape = np.maximum(f, 30.0) ** -float(rng.uniform(0, 1.2))
    if rng.random() < 0.5:
        low, high = sorted(rng.uniform(np.log(40), np.log(7500), 2))
        shape = shape / (1 + (np.exp(low) / np.maximum(f, 1)) ** 4) / (1 + (f / np.exp(high)) ** 4)
    noise = irfft(spectrum * shape, count)[:length]
    if rng.random() < 0.4:
        # Like the sea, rain and wind, whose level changes in the course of seconds.
        knots = rng.uniform(0.2, 1.0, max(2, int(length / RATE / rng.uniform(0.7, 3.0)) + 2))
        noise *= np.interp(np.linspace(0, len(knots) - 1, length), np.arange(len(knots)), knots)
    return (noise / max(float(noise.std()), 1e-9)).astype(np.float32)


def through_channel(waveform: Wave, rng: np.random.Generator) -> Wave:
    """Record, compress and encode a mixture: at random a limiter, a narrow band, 8 bits, a gain."""
    if rng.random() < 0.2:
        drive = float(rng.uniform(2, 12))
        waveform = np.tanh(drive * waveform) / drive
    if rng.random() < 0.15:
        waveform = _levelled(waveform)
    if rng.random() < 0.25:
        waveform = _low_passed(waveform, float(rng.uniform(2500, 7500)))
    if rng.random() < 0.05:
        coded = np.sign(waveform) * np.log1p(255 * np.abs(waveform)) / np.log(256)
        coded = np.round(coded * 127) / 127
        waveform = np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255
    peak = max(float(np.abs(waveform).max()), 1e-6)
    gain = 10 ** (-float(rng.uniform(0, 30)) / 20) / max(peak, 0.05)
    return np.round(waveform * gain * 32767).astype(np.float32) / np.float32(32767)


def _levelled(waveform: Wave) -> Wave:
    """Even out half of the level's changes over 0.3 s, like the automatic gain of a recorder."""
    coefficient = 1 - 1 / (0.3 * RATE)
    power = _filtered([1 - coefficient], [1, -coefficient], waveform**2)
    gain = (power + power.mean() * 0.02 + 1e-9) ** -0.25
    return _with_power_of(waveform, waveform * gain)


def _low_passed(waveform: Wave, cutoff_hz: float) -> Wave:
    spectrum = np.fft.rfft(waveform)
    f = np.fft.rfftfreq(len(waveform), 1 / RATE)
    return np.fft.irfft(spectrum / (1 + (f / cutoff_hz) ** 16), len(waveform)).astype(np.float32)


def _filtered(b: list[float], a: list[float], waveform: Wave) -> NDArray[np.float64]:
    from scipy.signal import lfilter

    return cast(NDArray[np.float64], lfilter(b, a, waveform.astype(np.float64)))


def _with_power_of(waveform: Wave, shaped: NDArray[np.floating]) -> Wave:
    power, got = float((waveform**2).mean()), float((shaped**2).mean())
    return (shaped * np.sqrt(power / max(got, 1e-12))).astype(np.float32)
