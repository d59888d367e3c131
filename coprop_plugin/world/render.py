"""Painting a made-up scene: objects with outlines and skins over a background, with a camera."""

from functools import lru_cache

import numpy as np

from coprop_plugin.world.objects import Kind

Pose = tuple[float, float, float, float]
_MARGIN = 24


def paint(
    looks: list[tuple[Kind, int, float, Pose]], time_s: float, size: tuple[int, int], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Paint one picture.

    Args:
        looks: Of each object, from back to front: its kind, its seed, its radius as a share of
            the shorter side, and its pose (x, y as shares of the picture, scale, angle).
        time_s: Moves the camera and the grain.
        size: Height and width in pixels.
        seed: Of the background.

    Returns:
        `[3, H, W]` uint8 RGB, and `[H, W]` uint8: which object each pixel shows, from 1, 0 none.
    """
    height, width = size
    canvas = background(size, seed)
    dy = round(_MARGIN / 2 * (1 + np.sin(0.5 * time_s + seed % 7)))
    dx = round(_MARGIN / 2 * (1 + np.sin(0.3 * time_s + seed % 5)))
    picture = canvas[dy : dy + height, dx : dx + width].copy()
    owner = np.zeros(size, np.uint8)
    for number, (kind, instance, radius, pose) in enumerate(looks, start=1):
        _place(picture, owner, number, kind, instance, radius * min(size), pose)
    grain = np.random.default_rng(int(seed * 100_003 + time_s * 1000)).standard_normal(size)
    picture += 0.012 * grain[..., None]
    return (picture.clip(0, 1) * 255).round().astype(np.uint8).transpose(2, 0, 1), owner


def _place(
    picture: np.ndarray,
    owner: np.ndarray,
    number: int,
    kind: Kind,
    instance: int,
    radius: float,
    pose: Pose,
) -> None:
    """Draw one object into `picture` and `owner`, in place; off the picture nothing happens."""
    height, width = owner.shape
    x, y, scale, angle = pose
    radius, cx, cy = radius * scale, x * width, y * height
    reach = int(radius * 1.6) + 2
    top, bottom = max(0, int(cy) - reach), min(height, int(cy) + reach)
    left, right = max(0, int(cx) - reach), min(width, int(cx) + reach)
    if top >= bottom or left >= right:
        return
    rows, columns = np.mgrid[top:bottom, left:right]
    u, v = (columns + 0.5 - cx) / radius, (rows + 0.5 - cy) / radius
    u, v = np.cos(angle) * u + np.sin(angle) * v, np.cos(angle) * v - np.sin(angle) * u
    edge = kind.outline(np.arctan2(v, u))
    inside = (edge - np.hypot(u, v)) * radius
    alpha = (inside + 0.5).clip(0, 1)[..., None]
    colour = _skin(kind, instance, u, v) * _shade(u, v, edge)[..., None]
    region = picture[top:bottom, left:right]
    region[:] = alpha * colour + (1 - alpha) * region
    owner[top:bottom, left:right][inside > 0] = number


def _skin(kind: Kind, instance: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(instance)
    first, second = (np.array(c) + rng.uniform(-0.06, 0.06, 3) for c in kind.colours)
    share = kind.skin(u, v)[..., None]
    # Wear: what makes two instances of one kind, and two places of one object, tell apart.
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

    Clouds of several grains in two muted colours, with a horizon and a few blurred shapes that
    look as if they could sound, and never do.
    """
    rng = np.random.default_rng(seed + 1)
    height, width = size[0] + _MARGIN, size[1] + _MARGIN
    clouds = sum(
        weight * _clouds(rng, height, width, cells)
        for weight, cells in ((0.5, 3), (0.3, 8), (0.14, 24), (0.06, 80))
    )
    low, high = rng.uniform(0.15, 0.45, 3), rng.uniform(0.45, 0.75, 3)
    canvas = low + (high - low) * clouds[..., None]
    rows, columns = np.mgrid[:height, :width]
    horizon = height * rng.uniform(0.45, 0.75) + 6 * np.sin(columns / rng.uniform(20, 60))
    canvas[rows > horizon] *= rng.uniform(0.65, 0.85)
    for _ in range(4):
        cx, cy, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(8, 30)
        blob = np.exp(-((((columns - cx) ** 2 + (rows - cy) ** 2) / r**2) ** 2))[..., None]
        canvas = canvas * (1 - 0.5 * blob) + 0.5 * blob * rng.uniform(0.1, 0.8, 3)
    return canvas.clip(0, 1)


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
