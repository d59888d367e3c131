"""Rendering of synthetic scenes: textured objects over a background, with a moving camera."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from coprop_plugin.world.objects import Kind

Pose = tuple[float, float, float, float]
_MARGIN = 24


@dataclass(frozen=True)
class Look:
    """Appearance of one object at one time.

    Args:
        kind: Its kind.
        instance: Seed of its differences from others of its kind.
        radius: Half its size, as a share of the shorter side of the frame.
        pose: x, y as shares of the frame, scale, angle in radians.
    """

    kind: Kind
    instance: int
    radius: float
    pose: Pose


def paint(looks: list[Look], time_s: float, size: tuple[int, int], seed: int) -> np.ndarray:
    """Paint one picture.

    Args:
        looks: The objects, from back to front.
        time_s: Time, for camera motion and grain.
        size: Height and width in pixels.
        seed: Seed of the background.

    Returns:
        `[3, H, W]` uint8 RGB.
    """
    height, width = size
    canvas = background(size, seed)
    dy = round(_MARGIN / 2 * (1 + np.sin(0.5 * time_s + seed % 7)))
    dx = round(_MARGIN / 2 * (1 + np.sin(0.3 * time_s + seed % 5)))
    picture = canvas[dy : dy + height, dx : dx + width].copy()
    for look in looks:
        patch = _Patch.of(look, size)
        if patch is not None:
            alpha = (patch.inside + 0.5).clip(0, 1)[..., None]
            colour = _skin(look.kind, look.instance, patch.u, patch.v)
            colour *= _shade(patch.u, patch.v, patch.edge)[..., None]
            region = picture[patch.where]
            region += alpha * (colour - region)
    rng = np.random.default_rng(int(seed * 100_003 + time_s * 1000))
    picture += 0.012 * rng.standard_normal((*size, 1), dtype=np.float32)
    return (picture.clip(0, 1) * 255).round().astype(np.uint8).transpose(2, 0, 1)


def owners(looks: list[Look], size: tuple[int, int]) -> np.ndarray:
    """Return the visible object of each pixel: `[H, W]` uint8, place in `looks` from 1, 0 none."""
    owner = np.zeros(size, np.uint8)
    for number, look in enumerate(looks, start=1):
        patch = _Patch.of(look, size)
        if patch is not None:
            owner[patch.where][patch.inside > 0] = number
    return owner


@dataclass(frozen=True)
class _Patch:
    """The part of the picture around an object, in the object's own coordinates.

    `where` cuts it out of the picture; `u`, `v` are in -1..1 inside the object; `edge` is the
    outline's radius in each pixel's direction; `inside` is how many pixels a pixel lies within.
    """

    where: tuple[slice, slice]
    u: np.ndarray
    v: np.ndarray
    edge: np.ndarray
    inside: np.ndarray

    @classmethod
    def of(cls, look: Look, size: tuple[int, int]) -> "_Patch | None":
        """Return None if the object is off the picture."""
        height, width = size
        x, y, scale, angle = look.pose
        radius, cx, cy = look.radius * min(size) * scale, x * width, y * height
        reach = int(radius * 1.6) + 2
        top, bottom = max(0, int(cy) - reach), min(height, int(cy) + reach)
        left, right = max(0, int(cx) - reach), min(width, int(cx) + reach)
        if top >= bottom or left >= right:
            return None
        rows = np.arange(top, bottom, dtype=np.float32)[:, None]
        columns = np.arange(left, right, dtype=np.float32)
        dx, dy = (columns + 0.5 - cx) / radius, (rows + 0.5 - cy) / radius
        u, v = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
        edge = look.kind.outline(np.arctan2(v, u))
        where = (slice(top, bottom), slice(left, right))
        return cls(where, u, v, edge, (edge - np.hypot(u, v)) * radius)


def _skin(kind: Kind, instance: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(instance)
    first, second = (np.array(c) + rng.uniform(-0.06, 0.06, 3) for c in kind.colours)
    share = kind.skin(u, v)[..., None]
    # Wear: differences between instances of one kind, and between places of one object.
    phases = rng.uniform(0, 2 * np.pi, 4)
    wear = np.sin(7 * u + phases[0]) * np.sin(9 * v + phases[1])
    wear = wear + 0.5 * np.sin(17 * u + 5 * v + phases[2]) * np.sin(13 * v - 4 * u + phases[3])
    return (1 - share) * first + share * second + 0.05 * wear[..., None]


def _shade(u: np.ndarray, v: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Light from the upper left, darker towards the outline."""
    away = np.hypot(u + 0.35, v + 0.45)
    rim = (np.hypot(u, v) / edge).clip(0, 1) ** 6
    return (1.12 - 0.28 * away).clip(0.5, 1.15) * (1 - 0.35 * rim)


@lru_cache(maxsize=8)
def background(size: tuple[int, int], seed: int) -> np.ndarray:
    """Return a canvas a little larger than the picture, `[H + m, W + m, 3]` float in [0, 1].

    Clouds of several grains in two muted colours, with a horizon and a few blurred shapes as
    distractors.
    """
    rng = np.random.default_rng(seed + 1)
    height, width = size[0] + _MARGIN, size[1] + _MARGIN
    clouds = np.zeros((height, width))
    for weight, cells in ((0.5, 3), (0.3, 8), (0.14, 24), (0.06, 80)):
        clouds = clouds + weight * _clouds(rng, height, width, cells)
    low, high = rng.uniform(0.15, 0.45, 3), rng.uniform(0.45, 0.75, 3)
    canvas = low + (high - low) * clouds[..., None]
    rows, columns = np.mgrid[:height, :width]
    horizon = height * rng.uniform(0.45, 0.75) + 6 * np.sin(columns / rng.uniform(20, 60))
    canvas[rows > horizon] *= rng.uniform(0.65, 0.85)
    for _ in range(4):
        cx, cy, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(8, 30)
        blob = np.exp(-((((columns - cx) ** 2 + (rows - cy) ** 2) / r**2) ** 2))[..., None]
        canvas = canvas * (1 - 0.5 * blob) + 0.5 * blob * rng.uniform(0.1, 0.8, 3)
    return canvas.clip(0, 1).astype(np.float32)


def _clouds(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Smooth noise in 0..1, about `cells` grains along the longer side."""
    grid = rng.random((cells + 2, cells + 2))
    y = np.arange(height) / max(height, width) * cells
    x = np.arange(width) / max(height, width) * cells
    iy, ix = y.astype(int), x.astype(int)
    fy, fx = (3 * f**2 - 2 * f**3 for f in (y - iy, x - ix))
    top = grid[iy][:, ix] * (1 - fx) + grid[iy][:, ix + 1] * fx
    bottom = grid[iy + 1][:, ix] * (1 - fx) + grid[iy + 1][:, ix + 1] * fx
    return top * (1 - fy[:, None]) + bottom * fy[:, None]
