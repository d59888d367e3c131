"""Moving sprites of random shape and texture, with exact masks, to train a propagator.

Unlike the objects of a `Scene` they have neither sounds nor names, and do not repeat, so that a
propagator learns to follow any labelled object rather than ten kinds.
"""

from dataclasses import dataclass

import numpy as np

_SPRITE = 96


def sprite_clip(
    rng: np.random.Generator,
    num_frames: int,
    size: tuple[int, int],
    max_objects: int = 4,
    speed: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Generate a clip of sprites that move, turn, scale, bend, occlude, leave and return.

    Args:
        rng: Source of all randomness.
        num_frames: T.
        size: Height and width in pixels.
        max_objects: Maximum number of labelled sprites; up to two more are unlabelled.
        speed: With 1, a sprite moves by up to about a tenth of the frame from frame to frame.

    Returns:
        Frames `[T, 3, H, W]` uint8 RGB, and ids `[T, H, W]` uint8: 0 the background and unlabelled
        sprites, then 1, 2, ..; every id is visible in the first frame.
    """
    canvas = _Background.made_up(rng, size, speed)
    count = int(rng.integers(1, max_objects + 1))
    things = [
        _Sprite.made_up(rng, size, speed, canvas.canvas)
        for _ in range(count + int(rng.integers(0, 3)))
    ]
    if len(things) > count and rng.random() < 0.5:
        things[-1] = things[0].twin(rng)
    ids = np.zeros(len(things), np.uint8)
    ids[:count] = np.arange(1, count + 1)
    order = rng.permutation(len(things))
    frames = np.empty((num_frames, 3, *size), np.uint8)
    masks = np.zeros((num_frames, *size), np.uint8)
    light = 1 + 0.15 * np.cumsum(rng.normal(0, 0.3, num_frames)).clip(-1.5, 1.5)
    for t in range(num_frames):
        picture = canvas.at(t)
        for n in order:
            things[n].draw(picture, masks[t], ids[n], t)
        frames[t] = _developed(rng, picture * light[t]).transpose(2, 0, 1)
    return frames, _renumbered(masks)


def _renumbered(masks: np.ndarray) -> np.ndarray:
    """Keep ids with enough pixels in the first frame, and renumber them from 1 without gaps."""
    table = np.zeros(256, np.uint8)
    shown = [i for i in np.unique(masks[0]) if i and (masks[0] == i).sum() >= 20]
    table[shown] = np.arange(1, len(shown) + 1)
    return table[masks]


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Generate a texture, `[H, W, 3]` float32 in [0, 1]: clouds of several grains, edges, lines."""
    import cv2

    base, other = rng.random(3), rng.random(3)
    share = np.zeros((height, width), np.float32)
    for cells in rng.choice([2, 4, 7, 12, 20, 32], int(rng.integers(1, 4)), replace=False):
        grid = rng.random((int(cells) + 1, int(cells) + 1), dtype=np.float32)
        share += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * rng.uniform(
            0.3, 1
        )
    share = (share - share.min()) / max(float(np.ptp(share)), 1e-6)
    if rng.random() < 0.5:
        share = 1 / (1 + np.exp(-(share - rng.uniform(0.35, 0.65)) * rng.uniform(8, 40)))
    if rng.random() < 0.35:
        y, x = np.mgrid[:height, :width] / max(height, width)
        angle, count = rng.uniform(0, np.pi), rng.uniform(4, 24)
        lines = np.sin(count * 2 * np.pi * (np.cos(angle) * x + np.sin(angle) * y))
        share = np.where(lines > rng.uniform(-0.5, 0.8), share, 1 - share)
    colour = base + (other - base) * share[..., None]
    grain = rng.standard_normal((height // 2 + 1, width // 2 + 1, 3), dtype=np.float32)
    fine = cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)
    return (colour + rng.uniform(0, 0.12) * fine).clip(0, 1).astype(np.float32)


def _developed(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Add blur and grain, as cameras and codecs do."""
    import cv2

    if rng.random() < 0.2:
        picture = cv2.GaussianBlur(picture, (3, 3), 0.8)
    picture = picture + rng.uniform(0, 0.03) * rng.standard_normal(picture.shape, dtype=np.float32)
    return (picture.clip(0, 1) * 255).astype(np.uint8)


@dataclass
class _Path:
    """A smooth path through a box: sums of slow sines, `[values]` at each frame."""

    start: np.ndarray
    reach: np.ndarray
    tempo: np.ndarray
    phase: np.ndarray

    @classmethod
    def made_up(cls, rng: np.random.Generator, low: list, high: list, reach: list, tempo: float):
        shape = len(low)
        return cls(
            rng.uniform(low, high),
            np.array(reach) * rng.uniform(0, 1, shape),
            rng.uniform(0.3, 1, shape) * tempo,
            rng.uniform(0, 2 * np.pi, shape),
        )

    def at(self, t: float) -> np.ndarray:
        return self.start + self.reach * np.sin(self.tempo * t + self.phase)


@dataclass
class _Background:
    canvas: np.ndarray
    size: tuple[int, int]
    path: _Path

    @classmethod
    def made_up(cls, rng: np.random.Generator, size: tuple[int, int], speed: float):
        height, width = size
        canvas = texture(rng, height + 64, width + 64)
        for _ in range(int(rng.integers(0, 5))):
            _paste_still(rng, canvas)
        path = _Path.made_up(rng, [24, 24, 0], [40, 40, 0], [20, 20, 0.05], 0.5 * speed)
        return cls(canvas, size, path)

    def at(self, t: int) -> np.ndarray:
        import cv2

        x, y, angle = self.path.at(t)
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, -s, -x], [s, c, -y]], np.float32)
        return cv2.warpAffine(
            self.canvas,
            turn,
            self.size[::-1],
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )


def _paste_still(rng: np.random.Generator, canvas: np.ndarray) -> None:
    sprite, alpha = _drawn(rng)
    side = int(rng.integers(20, 80))
    y, x = (int(rng.integers(0, n - side)) for n in canvas.shape[:2])
    import cv2

    sprite, alpha = (cv2.resize(a, (side, side)) for a in (sprite, alpha))
    region = canvas[y : y + side, x : x + side]
    region += alpha[..., None] * (sprite - region)


def _assembled(rng: np.random.Generator, canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Generate a sprite of one or several parts with different textures.

    Some parts have the texture of a part of the background.
    """
    import cv2

    parts = [_drawn(rng) for _ in range(int(rng.choice([1, 1, 2, 3, 4])))]
    skin, alpha = (
        np.zeros((_SPRITE, _SPRITE, 3), np.float32),
        np.zeros((_SPRITE, _SPRITE), np.float32),
    )
    for part, outline in parts:
        if rng.random() < 0.25:
            y, x = (int(rng.integers(0, n - 40)) for n in canvas.shape[:2])
            part = cv2.resize(canvas[y : y + 40, x : x + 40], (_SPRITE, _SPRITE))
        if len(parts) > 1:
            scale, reach = rng.uniform(0.35, 0.7), 0.25 * _SPRITE
            shift = (1 - scale) * _SPRITE / 2 + rng.uniform(-reach, reach, 2)
            affine = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)
            part, outline = (cv2.warpAffine(a, affine, (_SPRITE, _SPRITE)) for a in (part, outline))
        skin += outline[..., None] * (part - skin)
        alpha = np.maximum(alpha, outline)
    return skin, alpha


def _drawn(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Generate a sprite: its texture `[S, S, 3]`, and its outline `[S, S]`, 1 inside."""
    y, x = (np.mgrid[:_SPRITE, :_SPRITE] + 0.5 - _SPRITE / 2) / (_SPRITE * 0.46)
    angle, radius = np.arctan2(y, x), np.hypot(x, y)
    edge = np.ones_like(angle)
    for k in range(1, int(rng.integers(2, 8))):
        edge += rng.normal(0, 0.5 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    edge = 0.25 + (edge - edge.min()) / max(float(np.ptp(edge)), 1e-6) * 0.75
    if rng.random() < 0.3:
        edge = np.full_like(angle, 0.95)
        x, y = x, y * rng.uniform(1, 2.5)
        radius = np.maximum(abs(x), abs(y)) if rng.random() < 0.5 else np.hypot(x, y)
    alpha = ((edge - radius) * _SPRITE / 2).clip(0, 1).astype(np.float32)
    skin = texture(rng, _SPRITE, _SPRITE)
    if rng.random() < 0.4:
        part = (rng.normal() * x + rng.normal() * y > rng.uniform(-0.3, 0.3))[..., None]
        skin = np.where(part, skin, texture(rng, _SPRITE, _SPRITE))
    shade = (1 - 0.35 * rng.random() * radius**2).clip(0.4, 1)[..., None]
    return (skin * shade).astype(np.float32), alpha


@dataclass
class _Sprite:
    skin: np.ndarray
    alpha: np.ndarray
    path: _Path
    radius: float
    size: tuple[int, int]

    @classmethod
    def made_up(
        cls, rng: np.random.Generator, size: tuple[int, int], speed: float, canvas: np.ndarray
    ):
        skin, alpha = _assembled(rng, canvas)
        return cls(skin, alpha, cls._way(rng, size, speed), rng.uniform(0.1, 0.32), size)

    @staticmethod
    def _way(rng: np.random.Generator, size: tuple[int, int], speed: float) -> _Path:
        # x and y as shares of the picture, log scale, angle, stretch, shear
        low, high = [0.15, 0.15, -0.1, -np.pi, -0.3, -0.2], [0.85, 0.85, 0.1, np.pi, 0.3, 0.2]
        reach = [0.45, 0.4, 0.35, 0.8, 0.15, 0.2]
        return _Path.made_up(rng, low, high, reach, 0.45 * speed)

    def twin(self, rng: np.random.Generator) -> "_Sprite":
        """Return a sprite with the same look and another path."""
        return _Sprite(
            self.skin, self.alpha, self._way(rng, self.size, 1.0), self.radius, self.size
        )

    def draw(self, picture: np.ndarray, mask: np.ndarray, number: int, t: int) -> None:
        """Draw the sprite into a picture `[H, W, 3]` and its number into a mask, in place."""
        import cv2

        height, width = self.size
        x, y, grow, angle, stretch, shear = self.path.at(t)
        scale = self.radius * min(height, width) * np.exp(grow) / (_SPRITE / 2)
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, -s], [s, c]]) @ np.array(
            [[np.exp(stretch), shear], [0, np.exp(-stretch)]]
        )
        turn = scale * turn
        shift = np.array([x * width, y * height]) - turn @ np.array([_SPRITE / 2, _SPRITE / 2])
        affine = np.column_stack([turn, shift]).astype(np.float32)
        alpha = cv2.warpAffine(self.alpha, affine, (width, height), flags=cv2.INTER_LINEAR)
        skin = cv2.warpAffine(self.skin, affine, (width, height), flags=cv2.INTER_LINEAR)
        picture += alpha[..., None] * (skin - picture)
        mask[alpha > 0.5] = number
