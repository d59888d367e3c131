"""A folder of synthetic recordings, to train a tiny change detector on."""

import csv
import wave

import numpy as np

RATE = 16_000
KINDS = ("tone", "hiss")
COLUMNS = ("file", "source", "kind", "split")


def make_sound_folder(folder, count=24, seconds=1.5):
    """Write tones and noises of `count` sources, two files each, and their `sources.csv`."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        kind = KINDS[number % 2]
        split = ("train", "train", "val", "test")[number // 2 % 4]
        for take in range(2):
            name = f"{kind}_{number}_{take}.wav"
            write_wav(folder / name, one_sound(kind, number, seconds, rng))
            rows.append((name, f"{kind}_{number}", kind, split))
    write_listing(folder, rows)
    return folder


def write_listing(folder, rows, columns=COLUMNS):
    with (folder / "sources.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def one_sound(kind, number, seconds, rng=None):
    """A tone of three harmonics, or noise in a band; the number sets its frequency."""
    t = np.arange(int(seconds * RATE)) / RATE
    if kind == "tone":
        pitch_hz = 150 * 1.12**number
        return 0.2 * sum(np.sin(2 * np.pi * k * pitch_hz * t) / k for k in (1, 2, 3))
    spectrum = np.fft.rfft(rng.standard_normal(len(t)))
    f = np.fft.rfftfreq(len(t), 1 / RATE)
    middle_hz = 300 * 1.08**number
    noise = np.fft.irfft(spectrum * np.exp(-((np.log((f + 1) / middle_hz) / 0.3) ** 2)), len(t))
    return 0.2 * noise / noise.std()


def write_wav(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes())
