import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from coprop_plugin.audio.resample import resample
from coprop_plugin.errors import ClipError

RATES = [(44_100, 16_000), (48_000, 16_000), (8_000, 16_000), (16_000, 22_050), (44_099, 16_000)]


def slow_resample(waveform, from_hz, to_hz):
    """Follow resampy's loop, one output at a time, in float64."""
    ratio = to_hz / from_hz
    scale = min(1.0, ratio)
    step = int(scale * 8192) / 8192
    out = []
    for t in range(len(waveform) * to_hz // from_hz):
        place = t * from_hz / to_hz
        before = int(place + 1e-9)
        total = 0.0
        for first, direction, start in (
            (before, -1, scale * (place - before)),
            (before + 1, 1, scale - scale * (place - before)),
        ):
            for tap in range(int(51 / step)):
                sample = first + direction * tap
                u = start + tap * step
                if 0 <= sample < len(waveform) and u < 50:
                    x = 0.9173473712608761 * u
                    sinc = 1.0 if abs(x) < 1e-12 else math.sin(math.pi * x) / (math.pi * x)
                    window = torch.special.i0(
                        torch.tensor(12.984585247040009 * math.sqrt(1 - (u / 50) ** 2)).double()
                    ) / torch.special.i0(torch.tensor(12.984585247040009).double())
                    total += float(waveform[sample]) * 0.9173473712608761 * sinc * float(window)
        out.append(scale * total)
    return torch.tensor(out)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44_100, 16_000), (8_000, 16_000), (7, 5)])
def test_equals_a_loop_over_samples(from_hz, to_hz):
    waveform = torch.rand(120, generator=torch.Generator().manual_seed(0)) - 0.5
    expected = slow_resample(waveform, from_hz, to_hz)
    torch.testing.assert_close(
        resample(waveform, from_hz, to_hz).double(), expected.double(), atol=2e-6, rtol=0
    )


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_a_tone_keeps_its_pitch_level_and_place(from_hz, to_hz):
    def tone(rate):
        return 0.5 * torch.sin(2 * torch.pi * 1000 * torch.arange(rate) / rate)

    got, wanted = resample(tone(from_hz), from_hz, to_hz), tone(to_hz)
    middle = slice(to_hz // 4, 3 * to_hz // 4)
    assert got.dtype == torch.float32
    assert len(got) == to_hz
    torch.testing.assert_close(got[middle], wanted[middle], atol=2e-3, rtol=0)


def test_what_the_slower_rate_cannot_hold_is_removed():
    too_high = torch.sin(2 * torch.pi * 9500 * torch.arange(44_100).double() / 44_100)
    assert resample(too_high, 44_100, 16_000)[2000:-2000].abs().max() < 1e-4


def test_equal_rates_change_nothing():
    waveform = torch.rand(100)
    assert torch.equal(resample(waveform, 16_000, 16_000), waveform)


@pytest.mark.parametrize("num_samples", [0, 1, 2, 5])
def test_a_few_samples_are_enough(num_samples):
    out = resample(torch.ones(num_samples), 44_100, 16_000)
    assert len(out) == num_samples * 16_000 // 44_100


def test_a_part_does_not_depend_on_how_long_the_rest_is():
    waveform = torch.rand(100_000, generator=torch.Generator().manual_seed(0))
    long, short = resample(waveform, 44_100, 16_000), resample(waveform[:50_000], 44_100, 16_000)
    torch.testing.assert_close(long[:17_000], short[:17_000], atol=1e-6, rtol=0)


@pytest.mark.parametrize("seconds", [10, 100])
def test_the_cost_is_a_few_filters_per_sample(seconds):
    with FlopCounterMode(display=False) as counter:
        resampled = resample(torch.zeros(seconds * 44_100), 44_100, 16_000)
    # 50 zero crossings to either side at 16 kHz are 276 samples at 44.1 kHz.
    filter_flops = 2 * 276
    assert counter.get_total_flops() < 4 * filter_flops * len(resampled)


def test_stereo_is_refused():
    with pytest.raises(ClipError, match=r"shape \[2, 10\].*Average the channels"):
        resample(torch.zeros(2, 10), 44_100, 16_000)


@pytest.mark.parametrize("rates", [(0, 16_000), (44_100, -1), (44_100.5, 16_000)])
def test_impossible_rates_are_refused(rates):
    with pytest.raises(ClipError, match="Expected whole numbers of samples per second"):
        resample(torch.zeros(10), *rates)
