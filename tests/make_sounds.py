"""Synthetic sound sources, and scenes of them with true control points."""

import numpy as np
import torch

from coprop_plugin.types import Clip

SR = 16_000


def noise(n, rng, low_hz, high_hz):
    spectrum = np.fft.rfft(rng.standard_normal(n))
    f = np.fft.rfftfreq(n, 1 / SR)
    wave = np.fft.irfft(
        spectrum / (1 + (low_hz / np.maximum(f, 1)) ** 4) / (1 + (f / high_hz) ** 4), n
    )
    return wave / wave.std()


def harmonics(f0, amplitudes):
    phase = 2 * np.pi * np.cumsum(f0) / SR
    return sum(a * np.sin((k + 1) * phase) for k, a in enumerate(amplitudes))


def repeated(n, rng, one_event, length_s, pause_s):
    """Put short events one after the other, with pauses; lengths in seconds, (least, most)."""
    wave, at = np.zeros(n), 0
    while at < n:
        length = min(n - at, int(rng.uniform(*length_s) * SR))
        if length > 64:
            wave[at : at + length] = one_event(length)
        at += length + int(rng.uniform(*pause_s) * SR)
    return wave


def speech(n, rng):
    """Vowels and hisses of 100 to 280 ms, pauses of up to 250 ms."""
    voice_hz = rng.choice([110, 130, 200])

    def syllable(length):
        envelope = np.hanning(length) ** 0.5
        if rng.random() < 0.25:
            return 0.25 * envelope * noise(length, rng, 2500, 6500)
        formants = rng.uniform([280, 900, 2300], [800, 2300, 3000])
        k = np.arange(1, int(5500 / voice_hz))
        peaks = 1 / (1 + ((k[:, None] * voice_hz - formants) / 120) ** 2)
        f0 = voice_hz * np.linspace(*rng.uniform(0.85, 1.2, 2), length)
        wave = harmonics(f0, peaks.sum(1) / k + 0.01 / k)
        return envelope * wave / wave.std()

    silence = rng.choice([0.0, 0.25], p=[0.8, 0.2])
    return repeated(n, rng, syllable, (0.1, 0.28), (0.0, silence or 0.02))


def bark(n, rng):
    pitch_hz = rng.uniform(350, 700)

    def one(length):
        x = np.arange(length) / length
        f0 = pitch_hz * (1 + 0.5 * np.sin(np.pi * x)) * rng.uniform(0.92, 1.08)
        tone = harmonics(f0, [1, 0.8, 0.5, 0.3])
        return np.exp(-4 * x) * np.minimum(1, 20 * x) * (tone + 0.6 * noise(length, rng, 800, 3000))

    return repeated(n, rng, one, (0.12, 0.22), (0.08, 0.28))


def chirp(n, rng):
    pitch_hz = rng.uniform(2500, 5000)

    def one(length):
        f0 = pitch_hz * (1 + rng.uniform(-0.3, 0.3) * np.linspace(0, 1, length))
        return np.hanning(length) * harmonics(f0, [1])

    return repeated(n, rng, one, (0.05, 0.2), (0.03, 0.25))


def melody(n, rng):
    """Notes of one plucked instrument: many onsets, one source."""
    scale = 220 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12]) / 12)

    def note(length):
        decay = np.exp(-3 * np.arange(length) / SR)
        return decay * harmonics(np.full(length, rng.choice(scale)), 0.6 ** np.arange(6))

    return repeated(n, rng, note, (0.2, 0.25), (0.0, 0.0))


def horn(n, rng):
    chord = [1, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    f0 = rng.uniform(250, 450)
    return harmonics(np.full(n, f0), chord) + harmonics(np.full(n, 1.26 * f0), chord)


def siren(n, rng):
    x = np.arange(n) / SR
    return harmonics(900 + 400 * np.sin(2 * np.pi * x / rng.uniform(1, 2)), [1, 0.4, 0.3, 0.1])


def engine(n, rng):
    throb = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(40, 90) * np.arange(n) / SR)
    return noise(n, rng, 60, 900) * throb


def hiss(n, rng):
    return noise(n, rng, 2500, 7000)


SOURCES = [speech, bark, chirp, melody, horn, siren, engine, hiss]


def make(source, seconds, rng):
    wave = source(int(seconds * SR), rng)
    return 0.1 * wave / np.sqrt((wave[np.abs(wave) > 1e-4] ** 2).mean())


def during(wave, on_s, off_s):
    x = np.arange(len(wave)) / SR
    return wave * np.clip(np.minimum(x - on_s, off_s - x) / 0.02 + 0.5, 0, 1)


def scene(seed):
    """Ten seconds of one or two sources, in turn, overlapping or with silence; and the truth."""
    rng = np.random.default_rng(seed)
    a, b = (make(s, 10, rng) * rng.uniform(0.5, 1.4) for s in rng.permutation(SOURCES)[:2])
    first, second = sorted(rng.choice(np.arange(2, 9), 2, replace=False)) + rng.uniform(
        -0.3, 0.3, 2
    )
    kind = seed % 4
    events = {
        0: [(a, 0, 10)],
        1: [(a, 0, first), (b, first, second), (a, second, 10)],
        2: [(a, 0, second), (b, first, 10)],
        3: [(a, first, second)],
    }[kind]
    wave = sum(during(*event) for event in events) + rng.choice([0, 5e-4, 2e-3]) * noise(
        10 * SR, rng, 20, 7000
    )
    flags = [1] + [0] * 9
    if kind:
        for boundary in (first, second):
            flags[round(boundary)] = 1
    return wave, flags


def clip_of(wave, num_frames=None, fps=None):
    wave = torch.as_tensor(np.asarray(wave), dtype=torch.float32).clamp(-1, 1)
    num_frames = num_frames or round(len(wave) / SR * (fps or 1))
    frames = torch.zeros(num_frames, 3, 2, 2)
    if fps:
        return Clip(frames, wave, SR, torch.arange(num_frames) / fps)
    return Clip(frames, wave, SR, sampling="avsbench")
