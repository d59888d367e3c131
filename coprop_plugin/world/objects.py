"""The kinds of objects of synthetic scenes: an outline, a texture and a voice for each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from coprop_plugin.world import sounds
from coprop_plugin.world.sounds import Voice

Outline = Callable[[np.ndarray], np.ndarray]
Skin = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Kind:
    """A kind of object.

    Args:
        name: Unique; its class index is its place in `KINDS`, counted from 1.
        outline: Radius at each angle in radians, around 1 (half the object's size).
        skin: Share of the second colour, 0..1, at object coordinates x, y in -1..1.
        colours: Two RGB colours, 0..1; instances vary slightly.
        voice: Its sound.
    """

    name: str
    outline: Outline
    skin: Skin
    colours: tuple[tuple[float, float, float], tuple[float, float, float]]
    voice: Voice


def _lobes(count: int, depth: float, power: float = 1.0) -> Outline:
    return lambda a: 1 - depth * (0.5 - 0.5 * np.cos(count * a)) ** power


def _polygon(sides: int) -> Outline:
    half = np.pi / sides
    return lambda a: np.cos(half) / np.cos((a + half) % (2 * half) - half)


def _box(aspect: float) -> Outline:
    def outline(a: np.ndarray) -> np.ndarray:
        sides = np.abs(np.cos(a)) ** 8 + np.abs(np.sin(a) * aspect) ** 8
        return sides ** (-1 / 8)

    return outline


def _ellipse(aspect: float) -> Outline:
    return lambda a: 1 / np.sqrt(np.cos(a) ** 2 + (aspect * np.sin(a)) ** 2)


def _stripes(per_side: float, angle: float = 0.0) -> Skin:
    c, s = np.cos(angle), np.sin(angle)
    return lambda x, y: (np.sin(np.pi * per_side * (c * x + s * y)) > 0).astype(float)


def _rings(count: float) -> Skin:
    return lambda x, y: (np.sin(np.pi * count * np.hypot(x, y)) > 0).astype(float)


def _dots(per_side: float) -> Skin:
    def skin(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, v = (x * per_side) % 1 - 0.5, (y * per_side) % 1 - 0.5
        return (u * u + v * v < 0.09).astype(float)

    return skin


def _checks(per_side: float) -> Skin:
    return lambda x, y: ((np.floor(x * per_side) + np.floor(y * per_side)) % 2).astype(float)


def _top(edge: float) -> Skin:
    return lambda x, y: 1 / (1 + np.exp(np.clip((y - edge) * 18, -50, 50)))


KINDS = (
    Kind(
        "bell", _lobes(3, 0.35), _top(0.35), ((0.80, 0.62, 0.15), (0.97, 0.84, 0.40)), sounds.bell
    ),
    Kind("bird", _ellipse(1.5), _top(-0.1), ((0.95, 0.75, 0.10), (0.20, 0.45, 0.85)), sounds.bird),
    Kind(
        "drum",
        _box(1.25),
        _stripes(2.2, 0.8),
        ((0.72, 0.14, 0.12), (0.93, 0.90, 0.80)),
        sounds.drum,
    ),
    Kind(
        "engine",
        _lobes(10, 0.22, 2),
        _rings(3),
        ((0.36, 0.38, 0.42), (0.62, 0.64, 0.66)),
        sounds.engine,
    ),
    Kind("flute", _box(3.4), _dots(2.6), ((0.58, 0.38, 0.20), (0.18, 0.11, 0.07)), sounds.flute),
    Kind(
        "siren",
        _polygon(3),
        _stripes(3, 1.57),
        ((0.10, 0.25, 0.70), (0.92, 0.94, 0.98)),
        sounds.siren,
    ),
    Kind("dog", _lobes(2, 0.25), _dots(1.7), ((0.88, 0.84, 0.76), (0.35, 0.22, 0.12)), sounds.bark),
    Kind(
        "cricket",
        _ellipse(2.4),
        _stripes(5),
        ((0.20, 0.55, 0.18), (0.55, 0.80, 0.25)),
        sounds.cricket,
    ),
    Kind(
        "singer", _lobes(5, 0.42), _rings(2), ((0.78, 0.22, 0.55), (0.98, 0.78, 0.86)), sounds.voice
    ),
    Kind("horn", _polygon(6), _checks(2), ((0.90, 0.45, 0.08), (0.15, 0.13, 0.12)), sounds.horn),
)
"""All kinds; class index n is `KINDS[n - 1]`, 0 is the silent background."""
