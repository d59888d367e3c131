"""The clip of `coprop demo`: photographs under a moving camera, with synthesised sounds."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from coprop_plugin.types import Clip
from coprop_plugin.world.photographic_assets import read_background

_FOLDER = Path(__file__).resolve().parent / "photographs"
_SAMPLE_RATE = 16_000
_FADE_S = 0.1


@dataclass(frozen=True)
class _Shot:
    """A photograph, the camera's path over it, and the sound of what it shows.

    Args:
        name: The photograph.
        length_s: Length in seconds.
        starts_s: When the sound begins, from the start of the shot; it lasts to the end.
        sound: From seconds `[n]` to a waveform `[n]`; None for silence.
        centres: Centre of the picture at the beginning and at the end, as shares of the photograph.
        zooms: Share of the photograph that is seen at the beginning and at the end.
    """

    name: str
    length_s: float
    starts_s: float
    sound: Callable[[np.ndarray], np.ndarray] | None
    centres: tuple[tuple[float, float], tuple[float, float]]
    zooms: tuple[float, float]


def purr(seconds: np.ndarray) -> np.ndarray:
    """A cat's purr: noise that beats 26 times a second, softer while the cat breathes in."""
    beat = np.maximum(0, np.sin(2 * np.pi * 26 * seconds)) ** 2
    breath = 0.65 + 0.35 * np.sin(2 * np.pi * 0.7 * seconds)
    return 0.22 * _noise(len(seconds), low_hz=60, high_hz=900) * beat * breath


def roar(seconds: np.ndarray) -> np.ndarray:
    """A rocket's engines: low noise that crackles."""
    low = _noise(len(seconds), low_hz=30, high_hz=500)
    crackle = np.clip(_noise(len(seconds), low_hz=5, high_hz=60), 0, 2)
    return 0.18 * low + 0.08 * crackle * _noise(len(seconds), low_hz=300, high_hz=3000)


SHOTS = (
    _Shot("chelsea", 4.0, 1.0, purr, ((0.52, 0.52), (0.48, 0.47)), (0.92, 1.0)),
    _Shot("coffee", 3.0, 0.0, None, ((0.45, 0.5), (0.55, 0.5)), (0.9, 0.9)),
    _Shot("rocket", 5.0, 1.5, roar, ((0.5, 0.5), (0.5, 0.55)), (1.0, 0.9)),
)
"""A cat that purrs, a silent cup, a rocket that roars."""


def filmed_photographs(size: tuple[int, int], fps: float, pace: float = 1.0) -> Clip:
    """Film the photographs of the demo, one after the other.

    Args:
        size: Height and width in pixels; 2 to 3, like the photographs.
        fps: Frames a second.
        pace: Factor of the speed; 2 makes the clip half as long.

    Returns:
        A clip of 12 s / `pace`, the same on every call: frames `[T, 3, H, W]` uint8 and a
        waveform of 16 kHz.

    Example:
        >>> filmed_photographs((32, 48), fps=1)
        Clip(12 frames of 48x32, 12.00 s at 16000 Hz)
    """
    pictures, waves = [], []
    for shot in SHOTS:
        photograph = read_background(_FOLDER / f"{shot.name}.jpg")
        count = round(shot.length_s / pace * fps)
        for progress in (np.arange(count) / max(1, count - 1)).tolist():
            pictures.append(_picture(photograph, shot, progress, size))
        waves.append(_wave(shot, pace))
    frames = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    times = torch.arange(len(frames)) / fps
    return Clip(frames, torch.from_numpy(np.concatenate(waves)), _SAMPLE_RATE, times)


def _picture(
    photograph: np.ndarray, shot: _Shot, progress: float, size: tuple[int, int]
) -> np.ndarray:
    """Return what the camera sees after a share `progress` of the shot, `[H, W, 3]` uint8."""
    import cv2

    height, width = photograph.shape[:2]
    (start, end), (from_zoom, to_zoom) = np.array(shot.centres), shot.zooms
    seen = (from_zoom + progress * (to_zoom - from_zoom)) * min(height / size[0], width / size[1])
    centre = (start + progress * (end - start)) * (width, height)
    extent = np.array([size[1], size[0]]) * seen / 2
    centre = np.clip(centre, extent, np.array([width, height]) - extent)
    # Source pixels of the picture's pixels, by their centres.
    corner = centre - extent + (seen - 1) / 2
    affine = np.array([[seen, 0, corner[0]], [0, seen, corner[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    mode = cv2.BORDER_REPLICATE
    return cv2.warpAffine(photograph, affine, (size[1], size[0]), flags=flags, borderMode=mode)


def _wave(shot: _Shot, pace: float) -> np.ndarray:
    """Return the sound of a shot, `[samples]` float32, faded in and out."""
    wave = np.zeros(round(shot.length_s / pace * _SAMPLE_RATE), np.float32)
    if shot.sound is not None:
        first = round(shot.starts_s / pace * _SAMPLE_RATE)
        seconds = np.arange(len(wave) - first) / _SAMPLE_RATE
        ramp = np.minimum(seconds, seconds[::-1]) / _FADE_S
        wave[first:] = np.clip(shot.sound(seconds), -1, 1) * np.clip(ramp, 0, 1)
    return wave


def _noise(length: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Return noise of a band, `[length]`, with a standard deviation of 1; always the same."""
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(length))
    hertz = np.fft.rfftfreq(length, 1 / _SAMPLE_RATE)
    band = np.fft.irfft(spectrum * ((hertz > low_hz) & (hertz < high_hz)), length)
    return band / max(float(band.std()), 1e-9)
