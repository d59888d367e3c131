"""Change of sample rate, as the AVSBench front end does it."""

from collections.abc import Iterator
from functools import lru_cache
from math import ceil, floor, gcd

import torch
from torch import Tensor

from coprop_plugin.errors import ClipError

# The filter `kaiser_best` of resampy 0.3 and later: a sinc under a Kaiser window, in units of the
# zero crossings of the slower rate.
_ZERO_CROSSINGS = 50
_ROLLOFF = 0.9173473712608761
_KAISER_BETA = 12.984585247040009
# resampy looks its filter up in a table of this many entries per zero crossing and steps through it
# in whole entries. At 44.1 kHz that stretches the filter by 5e-5, which is visible in the log-mels
# of quiet bands, so the same step is used here.
_TABLE_STEPS = 8192

_CHUNK_ELEMENTS = 1 << 18


def resample(waveform: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """Change the sample rate of a waveform with resampy's default filter (`kaiser_best`).

    The same numbers as `resampy.resample(waveform, from_hz, to_hz)`, up to float32: band-limited
    interpolation (J. O. Smith) with 50 zero crossings to either side, samples outside the
    waveform counted as 0. Sample 0 stays at time 0. Memory beside input and output is bounded.

    Args:
        waveform: `[samples]`, float.
        from_hz: Its sample rate, in Hz.
        to_hz: The new sample rate, in Hz.

    Returns:
        `[floor(samples * to_hz / from_hz)]` float32; the waveform itself, as float32, where the
        rates are equal.

    Raises:
        ClipError: If the waveform is not one-dimensional float, or a rate is not a whole number
            above 0.

    Example:
        >>> resample(torch.zeros(44_100), 44_100, 16_000).shape
        torch.Size([16000])
    """
    if waveform.ndim != 1 or not waveform.is_floating_point():
        raise ClipError(
            "Expected a mono waveform [samples], float in [-1, 1], got shape "
            f"{list(waveform.shape)} and {waveform.dtype}. Average the channels, divide int16 by "
            "32768."
        )
    if not (from_hz == int(from_hz) > 0 and to_hz == int(to_hz) > 0):
        raise ClipError(
            "Expected whole numbers of samples per second, e.g. 44100 and 16000, got "
            f"{from_hz} and {to_hz}."
        )
    if from_hz == to_hz:
        return waveform.float()
    common = gcd(int(from_hz), int(to_hz))
    return _interpolate(waveform, int(from_hz) // common, int(to_hz) // common)


def resampled_length(length: int, from_hz: int, to_hz: int) -> int:
    """Return the length of `resample`'s output for an input of `length` samples."""
    common = gcd(int(from_hz), int(to_hz))
    return length * (int(to_hz) // common) // (int(from_hz) // common)


def resample_range(waveform: Tensor, from_hz: int, to_hz: int, start: int, stop: int) -> Tensor:
    """Return samples start..stop-1 of `resample`, computed from the samples around them alone.

    Args:
        waveform: As in `resample`.
        from_hz: As in `resample`.
        to_hz: As in `resample`.
        start: First sample of the resampled waveform; cut to its first one.
        stop: Sample after the last one; cut to its length.

    Example:
        >>> resample_range(torch.zeros(44_100), 44_100, 16_000, 15_000, 20_000).shape
        torch.Size([1000])
    """
    start = max(0, start)
    stop = max(start, min(stop, resampled_length(len(waveform), from_hz, to_hz)))
    common = gcd(int(from_hz), int(to_hz))
    down, up = int(from_hz) // common, int(to_hz) // common
    if down == up:
        return waveform[start:stop].float()
    reach = ceil(_ZERO_CROSSINGS / min(1.0, up / down)) + 2
    # Begin where samples of input and output coincide, so that the filters are the same.
    periods = max(0, start // up - ceil(2 * reach / down))
    piece = waveform[periods * down : ceil(stop * down / up) + 2 * reach]
    return resample(piece, down, up)[start - periods * up : stop - periods * up]


def _interpolate(waveform: Tensor, down: int, up: int) -> Tensor:
    """Resample by up / down (coprime): every output is a dot product of input and filter.

    The filter of output t depends on t modulo `up` alone, so outputs are computed as matrix
    products: rows are pieces of the input `period_in` apart, columns are filters.
    """
    scale = min(1.0, up / down)
    step = floor(scale * _TABLE_STEPS) / _TABLE_STEPS
    wing = ceil(_ZERO_CROSSINGS / step)
    # Join several periods where one is shorter than the filter: fewer, larger products.
    repeats = ceil(2 * wing / down)
    period_in, period_out = down * repeats, up * repeats

    num_out = len(waveform) * up // down
    if num_out == 0:
        return torch.empty(0, dtype=torch.float32, device=waveform.device)
    num_periods = ceil(num_out / period_out)
    right_pad = num_periods * period_in + wing - len(waveform) + 1
    padded = torch.nn.functional.pad(waveform, (wing, max(right_pad, 0)))
    out = torch.empty(num_periods, period_out, dtype=torch.float32, device=waveform.device)
    for first, stop in _phase_groups(period_out, down, up, spread=2 * wing):
        weights, start = _filters(first, stop, down, up, wing, step, scale)
        weights = weights.to(waveform.device)
        rows = padded[start:].unfold(0, len(weights), period_in)
        rows_a_chunk = max(1, _CHUNK_ELEMENTS // len(weights))
        for row in range(0, num_periods, rows_a_chunk):
            chunk = rows[row : min(row + rows_a_chunk, num_periods)].double()
            out[row : row + len(chunk), first:stop] = (chunk @ weights).float()
    return out.flatten()[:num_out]


def _phase_groups(period_out: int, down: int, up: int, spread: int) -> Iterator[tuple[int, int]]:
    """Cut the outputs of a period into groups whose places in the input lie within `spread`."""
    size = max(1, spread * up // down)
    for first in range(0, period_out, size):
        yield first, min(first + size, period_out)


# Pieces of one waveform need the same filters again; a pair of rates has one or two, some MB.
@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _filters(
    first: int, stop: int, down: int, up: int, wing: int, step: float, scale: float
) -> tuple[Tensor, int]:
    """Filters of outputs first..stop-1 of a period, `[taps, stop - first]` float64.

    Returns:
        The filters, and which padded input sample their first row belongs to.
    """
    phases = torch.arange(first, stop)
    places = phases * down  # in units of 1 / up input samples
    before, fraction = places // up, (places % up).double() * (scale / up)
    start = int(before[0]) + 1
    rows = int(before[-1] - before[0]) + 2 * wing
    # `behind` counts input samples from the one at or before the output: 0, 1, ... to the left.
    samples = start - wing + torch.arange(rows)[:, None]
    behind = before - samples
    left = fraction + behind * step
    right = (scale - fraction) + (-behind - 1) * step
    distance = torch.where(behind >= 0, left, right)
    return scale * _windowed_sinc(distance), start


def _windowed_sinc(crossings: Tensor) -> Tensor:
    """Return resampy's filter this many zero crossings from its centre, 0 beyond the last one."""
    inside = (1 - (crossings / _ZERO_CROSSINGS) ** 2).clamp_min(0).sqrt()
    beta = torch.tensor(_KAISER_BETA, dtype=torch.float64)
    # Scaled Bessel functions, as exp(beta) itself costs digits.
    window = torch.special.i0e(beta * inside) / torch.special.i0e(beta)
    window = window * torch.exp(beta * (inside - 1))
    value = _ROLLOFF * torch.sinc(_ROLLOFF * crossings) * window
    return torch.where(crossings < _ZERO_CROSSINGS, value, torch.zeros_like(value))
