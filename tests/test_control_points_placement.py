"""Where each provider puts a change: at its second, at every frame rate and sampling."""

import math
from types import SimpleNamespace

import pytest
import torch

from coprop_plugin.control_points import (
    ClapProvider,
    CosineProvider,
    GateProvider,
    NoveltyProvider,
    SoundEventProvider,
)
from coprop_plugin.control_points.listening import Activity, windows_at_hop
from coprop_plugin.control_points.resolve import as_provider
from coprop_plugin.types import Clip

RATE, SECONDS, CHANGE_S = 16_000, 6, 3.0


def tone(hertz):
    t = torch.arange(SECONDS * RATE, dtype=torch.float64) / RATE
    return (0.3 * torch.sin(2 * math.pi * hertz * t)).float()


def noise():
    return 0.1 * torch.randn(SECONDS * RATE, generator=torch.Generator().manual_seed(0))


def changing(before, after):
    return torch.cat([before[: round(CHANGE_S * RATE)], after[round(CHANGE_S * RATE) :]])


SOUNDS = {
    "steady tone": tone(440),
    "tone to tone": changing(tone(440), tone(2500)),
    "noise to tone": changing(noise(), tone(440)),
    "begins": changing(0 * tone(440), tone(440)),
    "ends": changing(tone(440), 0 * tone(440)),
}


def clip_of(sound, fps, sampling):
    times = torch.arange(SECONDS * fps, dtype=torch.float64) / fps
    times = times + 15 / 16 if sampling == "avsbench" else times
    frames = torch.zeros(len(times), 3, 2, 2, dtype=torch.uint8)
    return Clip(frames, SOUNDS[sound], RATE, times, sampling=sampling)


def bands(windows):
    """Return how loud windows [N, samples] are up to 1 kHz, up to 4 kHz and above, [N, 3]."""
    spectrum = torch.fft.rfft(windows * torch.hann_window(windows.shape[1])).abs()
    edges = [0, windows.shape[1] // 16, windows.shape[1] // 4, spectrum.shape[1]]
    parts = [spectrum[:, a:b].square().sum(1) for a, b in zip(edges, edges[1:], strict=False)]
    return torch.stack(parts, 1).sqrt() / windows.shape[1]


class BandDetector:
    model_id = "bands"

    def activity(self, waveform, sample_rate, categories):
        loud = bands(windows_at_hop(waveform, sample_rate, 0.1, 0.1))
        return Activity(("low", "middle", "high"), (loud > 0.002).float(), 0.1)


class BandModel(torch.nn.Module):
    config = SimpleNamespace(projection_dim=3)

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def get_audio_features(self, input_features, is_longer):
        return SimpleNamespace(pooler_output=bands(input_features))


class Inputs(dict):
    def to(self, device):
        return self


class Extractor:
    sampling_rate = RATE

    def __call__(self, windows, sampling_rate, return_tensors):
        features = torch.stack([torch.as_tensor(window) for window in windows])
        return Inputs(input_features=features, is_longer=torch.zeros(len(windows), 1))


class Spectrum(torch.nn.Module):
    """Stands for VGGish: the mean spectrum of an example."""

    def forward(self, examples):
        return (examples.mean((1, 2)) + 4.6).clamp_min(0)


PROVIDERS = {
    "change_detector": as_provider("change_detector"),
    "novelty": NoveltyProvider(),
    "cosine": CosineProvider(),
    "cosine with embeddings": CosineProvider(0.95, Spectrum()),
    "sed": SoundEventProvider(BandDetector()),
    "clap": ClapProvider(BandModel(), Extractor()),
    "gate": GateProvider(CosineProvider()),
}


RATES = [(1, "pts"), (4, "pts"), (8, "pts"), (25, "pts"), (1, "avsbench")]


@pytest.mark.parametrize(
    ("provider", "fps", "sampling"),
    # The other providers find seconds, whatever the frames.
    [(name, *rate) for name in ("novelty", "cosine") for rate in RATES]
    + [("cosine with embeddings", 1, "pts"), ("cosine with embeddings", 4, "pts")]
    + [
        (name, *rate)
        for name in ("change_detector", "sed", "clap", "gate")
        for rate in (RATES[0], *RATES[3:])
    ],
)
def test_steady_sound_has_one_point_and_a_change_lies_where_it_is(provider, fps, sampling):
    found = {}
    for sound in SOUNDS:
        clip = clip_of(sound, fps, sampling)
        indices = PROVIDERS[provider].propose(clip).indices
        found[sound] = [float(clip.spans[t, 0]) for t in indices]
    assert found == {
        sound: [0.0] if sound.startswith("steady") else [0.0, CHANGE_S] for sound in SOUNDS
    }
