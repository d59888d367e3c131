"""Synthesised sounds: one voice per kind of object, with a new instance per seed.

Every voice is a function `(times_s [n], rng) -> waveform [n]` in [-1, 1]. The properties of an
instance (pitch, timbre, rhythm, loudness) are drawn from the generator.
"""

from collections.abc import Callable

import numpy as np

Voice = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def bell(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Strokes with inharmonic partials that die away."""
    pitch, every_s = rng.uniform(500, 900), rng.uniform(0.35, 0.6)
    since = t % every_s
    partials = zip((1.0, 2.76, 5.40, 8.93), (1.0, 0.6, 0.35, 0.2), (3, 5, 8, 12), strict=True)
    return _peak(sum(a * np.exp(-d * since) * _sine(pitch * f, t) for f, a, d in partials))


def bird(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Short whistles that sweep up or down."""
    every_s, low, span = rng.uniform(0.16, 0.24), rng.uniform(2200, 3200), rng.uniform(800, 1800)
    phase = (t % every_s) / every_s
    sweep = low + span * (phase if rng.random() < 0.5 else 1 - phase)
    return _peak(np.sin(_phase(sweep, t)) * np.sin(np.pi * phase) ** 0.7)


def drum(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Beats: a falling low tone with a burst of noise."""
    every_s, pitch = rng.uniform(0.18, 0.3), rng.uniform(70, 110)
    since = t % every_s
    skin = np.sin(2 * np.pi * pitch * since * (1 + 0.8 * np.exp(-20 * since))) * np.exp(-9 * since)
    return _peak(skin + 0.4 * _noise(t, rng) * np.exp(-35 * since))


def engine(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A low buzz of many harmonics with a rough beat."""
    pitch = rng.uniform(55, 90) * (1 + 0.04 * _sine(rng.uniform(0.3, 0.7), t))
    phase = _phase(pitch, t)
    buzz = sum(np.sin(k * phase) / k**0.8 for k in range(1, 25))
    return _peak(buzz * (0.8 + 0.2 * np.sin(phase / 2)) + 0.1 * _noise(t, rng))


def flute(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Held notes with vibrato and breath."""
    scale = rng.uniform(500, 700) * 2 ** (rng.choice([0, 2, 4, 7, 9], 64) / 12)
    notes = scale[(t / rng.uniform(0.3, 0.5)).astype(int) % 64]
    phase = _phase(notes * (1 + 0.006 * _sine(5.5, t)), t)
    return _peak(np.sin(phase) + 0.25 * np.sin(2 * phase) + 0.05 * _noise(t, rng))


def siren(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A tone that wails up and down."""
    low, high, per_s = rng.uniform(450, 600), rng.uniform(1000, 1400), rng.uniform(0.8, 1.4)
    phase = _phase(low + (high - low) * (0.5 + 0.5 * _sine(per_s, t)), t)
    return _peak(np.sin(phase) + 0.4 * np.sin(2 * phase) + 0.2 * np.sin(3 * phase))


def bark(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rough bursts of a falling pitch."""
    every_s, pitch = rng.uniform(0.24, 0.34), rng.uniform(250, 420)
    since = t % every_s
    phase = _phase(pitch * (1 + 0.6 * np.exp(-18 * since)), t)
    voice = sum(np.sin(k * phase) / k**0.5 for k in range(1, 9)) + 0.8 * _noise(t, rng)
    return _peak(voice * (since < 0.16) * np.sin(np.pi * np.clip(since / 0.16, 0, 1)))


def cricket(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A high tone, chopped fast."""
    pitch, rate = rng.uniform(4200, 5200), rng.uniform(28, 40)
    return _peak(_sine(pitch, t) * (0.5 + 0.5 * _sine(rate, t)) ** 2)


def voice(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vowels: harmonics under formants that change a few times a second."""
    pitch = rng.uniform(110, 240) * (1 + 0.08 * _sine(rng.uniform(0.8, 1.6), t))
    vowels = np.array([[730, 1090], [270, 2290], [300, 870], [530, 1840], [570, 840]], float)
    chosen = vowels[rng.integers(0, 5, 64)][(t / rng.uniform(0.18, 0.26)).astype(int) % 64]
    phase, out = _phase(pitch, t), np.zeros_like(t)
    for k in range(1, 22):
        gain = sum(np.exp(-(((k * pitch - f) / 160) ** 2)) for f in chosen.T)
        out += (0.03 + gain) * np.sin(k * phase)
    return _peak(out)


def horn(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two brassy tones at once."""
    pitch = rng.uniform(300, 420)
    tones = (pitch, pitch * 1.26)
    return _peak(
        sum((_sine(f * k, t) / k for f in tones for k in range(1, 8)), start=np.zeros_like(t))
    )


def babble(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random sound: tone, noise, or both, with a varying pitch, in syllables with pauses."""
    pitch = 2 ** rng.uniform(np.log2(70), np.log2(3000))
    waves = (rng.uniform(0, 0.1) * _sine(rng.uniform(0.3, 6), t) for _ in range(3))
    wander = sum(waves, start=np.zeros_like(t))
    phase, tone = _phase(pitch * (1 + wander), t), np.zeros_like(t)
    tilt, formant = rng.uniform(0.3, 2), rng.uniform(200, 4000)
    for k in range(1, max(2, min(16, int(7000 / pitch)))):
        gain = k**-tilt * (0.2 + np.exp(-(((k * pitch - formant) / 700) ** 2)))
        tone += gain * np.sin(k * phase + rng.uniform(0, 2 * np.pi))
    grain = np.hanning(int(2 ** rng.uniform(2, 6)) + 2)
    hiss = np.convolve(rng.standard_normal(len(t)), grain, mode="same")
    if rng.random() < 0.5:
        hiss *= _sine(rng.uniform(200, 5000), t)
    share = rng.choice([0.0, 1.0, rng.random()])
    return _peak((share * _peak(tone) + (1 - share) * _peak(hiss)) * _syllables(t, rng))


def _syllables(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Loudness of syllables with pauses; one time in four, of a held sound."""
    if rng.random() < 0.25:
        return 1 + rng.uniform(0, 0.6) * _sine(rng.uniform(0.2, 8), t)
    lengths, pauses = np.array([0.06, 0.6]), np.array([0.02, rng.uniform(0.05, 0.35)])
    loud, time_s, end_s = np.zeros_like(t), float(t[0]) - rng.uniform(0, 0.5), float(t[-1])
    while time_s < end_s:
        length_s, pause_s = (np.exp(rng.uniform(*np.log(span))) for span in (lengths, pauses))
        place = (t - time_s) / length_s
        rises = np.sin(np.pi * np.clip(place, 0, 1)) ** 0.5
        loud += 10 ** rng.uniform(-0.6, 0) * rises
        time_s += length_s + pause_s
    return loud


def room(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Low hiss of a room, at full scale."""
    noise = rng.standard_normal(len(t) + 63)
    return _peak(np.convolve(noise, np.hanning(64), mode="valid"))


def _phase(hertz: np.ndarray, t: np.ndarray) -> np.ndarray:
    step_s = t[1] - t[0] if len(t) > 1 else 0.0
    return 2 * np.pi * np.cumsum(hertz) * step_s


def _sine(hertz: float, t: np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * t)


def _noise(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(len(t)).clip(-3, 3) / 3


def _peak(wave: np.ndarray) -> np.ndarray:
    return wave / max(float(np.abs(wave).max(initial=0)), 1e-9)
