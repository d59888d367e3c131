"""Folders of cut-outs, backgrounds and sounds, drawn here."""

import wave

import cv2
import numpy as np


def write_assets(root):
    """Write three kinds of two discs each, with a tone a kind, and two noisy backgrounds."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for number, kind in enumerate(("bell", "cat", "mute")):
            for name in ("one", "two"):
                write_disc(root / split / "cutouts" / kind / f"{name}.png", 80 * number + 60, rng)
            if kind != "mute":
                write_tone(root / split / "sounds" / kind / "tone.wav", 300 * (number + 1))
        (root / split / "backgrounds").mkdir(parents=True)
        for name in ("a", "b"):
            photo = rng.integers(0, 255, (60, 90, 3)).astype(np.uint8)
            cv2.imwrite(str(root / split / "backgrounds" / f"{name}.jpg"), photo)
    return root


def write_disc(path, shade, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:40, :40] - 19.5
    picture = rng.integers(0, 60, (40, 40, 4)) + shade
    picture[..., 3] = 255 * (np.hypot(x, y) < 18)
    cv2.imwrite(str(path), picture.clip(0, 255).astype(np.uint8))


def write_tone(path, hertz, seconds=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 20_000 * np.sin(2 * np.pi * hertz * np.arange(round(16_000 * seconds)) / 16_000)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(tone.astype("<i2").tobytes())
