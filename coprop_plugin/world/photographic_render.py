"""Rendering of photographic scenes: cut-outs over a background, filmed by one camera.

Properties by which a model could recognise a pasted object are shared by all layers, or random for
each layer: blur, grain, compression, colour, light, softness of edges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from coprop_plugin.world.photographic_assets import CutOut, read_background
from coprop_plugin.world.photographic_motion import Motion, Sines

_MARGIN = 1.4
"""Size of a background's canvas relative to the frame, so that the camera can move."""


@dataclass(frozen=True)
class Layer:
    """Appearance and motion of one cut-out in a scene.

    Args:
        cut_out: Its picture.
        radius: Half its longer side, as a share of the shorter side of the frame.
        motion: Its position and deformation over time.
        mirrored: Whether it is flipped horizontally.
        gain: Factor of each colour channel.
        offset: Offset of each colour channel, added after the factor.
        shade: Increase of brightness from the centre to the right and to the bottom.
        edge: Share of its soft edge that is cut away, 0..0.5.
        blur: Sigma of its own blur in pixels.
        parallax: Share of the camera's motion that applies to it.
    """

    cut_out: CutOut
    radius: float
    motion: Motion
    mirrored: bool = False
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shade: tuple[float, float] = (0.0, 0.0)
    edge: float = 0.2
    blur: float = 0.0
    parallax: float = 1.0


@dataclass(frozen=True)
class Camera:
    """The background, the camera's motion, and image degradations that all layers share.

    Args:
        background: A photograph.
        crop: x, y and size of its visible part, as shares.
        path: Horizontal and vertical shift as shares of the frame, angle in radians, log zoom.
        defocus: Sigma of the background's own blur in pixels.
        blur: Sigma of the lens blur in pixels.
        exposure_s: Exposure time in seconds, for motion blur; 0 for none.
        grain: Standard deviation of the noise, 0..1.
        coarse: Whether the grain is coarser than a pixel.
        jpeg: Quality of the JPEG compression; 0 for none.
        tint: Factor of each colour channel of the frame.
        gamma: Exponent of all pixel values.
        flicker: Log brightness over time.
        resolution: Share of the frame's size at which it is filmed before it is enlarged.
        shadow: Darkness of the objects' shadows, 0..1.
    """

    background: Path
    crop: tuple[float, float, float]
    path: Sines
    defocus: float = 0.0
    blur: float = 0.0
    exposure_s: float = 0.0
    grain: float = 0.0
    coarse: bool = False
    jpeg: int = 0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    flicker: Sines | None = None
    resolution: float = 1.0
    shadow: float = 0.0

    @classmethod
    def drawn(cls, rng: np.random.Generator, background: Path, pace: float) -> "Camera":
        """Draw a camera: most are nearly still, some pan, some shake."""

        def some(share: float, low: float, high: float) -> float:
            return float(rng.uniform(low, high)) if rng.random() < share else 0.0

        moves = float(rng.choice([0.0, 0.01, 0.05, 0.12]))
        path = Sines.drawn(rng, [0, 0, 0, 0.1], [moves, moves, 0.4 * moves, 0.5 * moves], pace)
        tint = np.exp(rng.normal(0, 0.08, 3))
        tint = tint / tint.mean()
        return cls(
            background,
            (float(rng.random()), float(rng.random()), float(rng.uniform(0.5, 1))),
            path,
            defocus=some(0.5, 0.4, 2.5),
            blur=some(0.4, 0.3, 0.9),
            exposure_s=some(0.25, 0.01, 0.04),
            grain=some(0.7, 0.003, 0.03),
            coarse=bool(rng.random() < 0.5),
            jpeg=int(some(0.75, 25, 95)),
            tint=(float(tint[0]), float(tint[1]), float(tint[2])),
            gamma=float(np.exp(rng.normal(0, 0.18))),
            flicker=Sines.drawn(rng, [0.0], [some(0.5, 0.02, 0.2)], 0.7),
            resolution=float(rng.uniform(0.45, 0.9)) if rng.random() < 0.2 else 1.0,
            shadow=some(0.4, 0.1, 0.5),
        )

    def affine(self, time_s: float, size: tuple[int, int], parallax: float = 1.0) -> np.ndarray:
        """Return the affine map from the still scene's pixels to the frame's, `[2, 3]`."""
        x, y, angle, zoom = self.path.at(time_s) * parallax
        middle = np.array([size[1], size[0]]) / 2
        c, s = np.cos(angle) * np.exp(zoom), np.sin(angle) * np.exp(zoom)
        turn = np.array([[c, -s], [s, c]])
        return np.column_stack([turn, middle + (x * size[1], y * size[0]) - turn @ middle])


def render(
    layers: Sequence[Layer],
    camera: Camera,
    time_s: float,
    size: tuple[int, int],
    seed: int,
    strengths: Sequence[float] | None = None,
) -> np.ndarray:
    """Render one picture.

    Args:
        layers: The layers, from back to front.
        camera: The camera, with the background.
        time_s: Time in seconds.
        size: Height and width in pixels.
        seed: Seed of the grain.
        strengths: Factor of each layer's deformation; by default 1.

    Returns:
        `[3, H, W]` uint8 RGB.
    """
    strengths = [1.0] * len(layers) if strengths is None else strengths
    moments = [time_s]
    if camera.exposure_s:
        moments = [time_s + share * camera.exposure_s for share in (-0.5, 0.0, 0.5)]
    picture = np.mean([_composite(layers, camera, t, size, strengths) for t in moments], axis=0)
    rng = np.random.default_rng([seed, round(abs(time_s) * 1000)])
    return _filmed(picture, camera, time_s, rng).transpose(2, 0, 1)


def owners(
    layers: Sequence[Layer],
    camera: Camera,
    time_s: float,
    size: tuple[int, int],
    strengths: Sequence[float] | None = None,
) -> np.ndarray:
    """Return which layer each pixel shows: `[H, W]` uint8, counted from 1; 0 for none."""
    strengths = [1.0] * len(layers) if strengths is None else strengths
    owner = np.zeros(size, np.uint8)
    for number, (layer, strength) in enumerate(zip(layers, strengths, strict=True), start=1):
        patch = _patch(layer, camera, time_s, size, strength)
        if patch is not None:
            owner[patch[0]][patch[1][..., 3] > 0.5] = number
    return owner


@lru_cache(maxsize=16)
def canvas_of(
    path: Path, crop: tuple[float, float, float], defocus: float, size: tuple[int, int]
) -> np.ndarray:
    """Return a crop of a photograph, larger than the frame: `[h, w, 3]` float32, 0..1."""
    import cv2

    photo = read_background(path)
    height, width = (round(side * _MARGIN) for side in size)
    scale = min(photo.shape[0] / height, photo.shape[1] / width) * crop[2]
    rows, columns = max(2, int(height * scale)), max(2, int(width * scale))
    top, left = (
        round(share * (whole - part))
        for share, whole, part in zip(crop[1::-1], photo.shape, (rows, columns), strict=False)
    )
    part = photo[top : top + rows, left : left + columns]
    interpolation = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    part = cv2.resize(part, (width, height), interpolation=interpolation).astype(np.float32) / 255
    return cv2.GaussianBlur(part, (0, 0), defocus) if defocus else part


@lru_cache(maxsize=32)
def _sprite(cut_out: CutOut, level: int, mirrored: bool, edge: float) -> np.ndarray:
    """Return a premultiplied cut-out `[H, W, 4]` float32, halved `level` times, with a border."""
    import cv2

    rgba: np.ndarray = cut_out.pixels().astype(np.float32) / 255
    for _ in range(level):
        half = (max(2, rgba.shape[1] // 2), max(2, rgba.shape[0] // 2))
        rgba = cv2.resize(rgba, half, interpolation=cv2.INTER_AREA)
    alpha = rgba[..., 3:]
    harder = ((alpha - edge) / (1 - edge)).clip(0, 1)
    rgba = np.concatenate([rgba[..., :3] * harder / alpha.clip(1e-3), harder], axis=2)
    if mirrored:
        rgba = rgba[:, ::-1]
    return cv2.copyMakeBorder(np.ascontiguousarray(rgba), 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=0)


def _patch(
    layer: Layer, camera: Camera, time_s: float, size: tuple[int, int], strength: float
) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Return the part of the frame that a layer covers, and its premultiplied RGBA there."""
    import cv2

    own = layer.motion.affine(time_s, layer.radius * min(size), size)
    seen = camera.affine(time_s, size, layer.parallax)
    affine = seen[:, :2] @ own
    affine[:, 2] += seen[:, 2]
    reach = 1.35 * abs(affine[:, :2]).sum(1) + 2
    left, top = (int(max(0, affine[n, 2] - reach[n])) for n in (0, 1))
    right, bottom = (int(min(size[1 - n], affine[n, 2] + reach[n])) for n in (0, 1))
    if right - left < 2 or bottom - top < 2:
        return None
    longest = max(layer.cut_out.pixels().shape[:2])
    ratio = longest / (2 * np.sqrt(abs(np.linalg.det(affine[:, :2]))) + 1e-6)
    level = int(np.clip(np.floor(np.log2(max(ratio, 1)) + 0.3), 0, 5))
    sprite = _sprite(layer.cut_out, level, layer.mirrored, layer.edge)
    back = np.linalg.inv(affine[:, :2])
    x = np.arange(left, right, dtype=np.float32) + 0.5 - affine[0, 2]
    y = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5 - affine[1, 2]
    u = (back[0, 0] * x + back[0, 1] * y).astype(np.float32)
    v = (back[1, 0] * x + back[1, 1] * y).astype(np.float32)
    bent_u, bent_v = layer.motion.undeformed(u, v, time_s, strength)
    height, width = sprite.shape[:2]
    half = (max(height, width) - 4) / 2
    across = (bent_u * half + (width - 1) / 2).astype(np.float32)
    down = (bent_v * half + (height - 1) / 2).astype(np.float32)
    rgba = cv2.remap(sprite, across, down, cv2.INTER_LINEAR, borderValue=0)
    shade = 1 + layer.shade[0] * u + layer.shade[1] * v
    colour = rgba[..., :3] * layer.gain + rgba[..., 3:] * np.array(layer.offset)
    rgba[..., :3] = (colour * shade[..., None]).clip(0, None)
    return (slice(top, bottom), slice(left, right)), rgba


def _composite(
    layers: Sequence[Layer],
    camera: Camera,
    time_s: float,
    size: tuple[int, int],
    strengths: Sequence[float],
) -> np.ndarray:
    """Return the background with all layers in front, `[H, W, 3]` float32."""
    import cv2

    canvas = canvas_of(camera.background, camera.crop, camera.defocus, size)
    centred = camera.affine(time_s, size)
    room = np.array([canvas.shape[1] - size[1], canvas.shape[0] - size[0]]) / 2
    centred[:, 2] -= centred[:, :2] @ room
    picture = cv2.warpAffine(
        canvas,
        centred.astype(np.float32),
        size[::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    for layer, strength in zip(layers, strengths, strict=True):
        patch = _patch(layer, camera, time_s, size, strength)
        if patch is None:
            continue
        where, rgba = patch
        if camera.shadow:
            _shade_below(picture, where, rgba[..., 3], camera.shadow)
        if layer.blur:
            rgba = cv2.GaussianBlur(rgba, (0, 0), layer.blur)
        picture[where] = picture[where] * (1 - rgba[..., 3:]) + rgba[..., :3]
    return picture


def _shade_below(
    picture: np.ndarray, where: tuple[slice, slice], alpha: np.ndarray, strength: float
) -> None:
    """Darken the picture, in place, at the lower right of an object."""
    import cv2

    shift = max(2, round(0.04 * max(alpha.shape)))
    moved = np.zeros_like(alpha)
    if alpha.shape[0] > shift and alpha.shape[1] > shift:
        moved[shift:, shift:] = alpha[:-shift, :-shift]
    soft = cv2.GaussianBlur(moved, (0, 0), shift)
    picture[where] *= 1 - strength * soft[..., None]


def _filmed(
    picture: np.ndarray, camera: Camera, time_s: float, rng: np.random.Generator
) -> np.ndarray:
    """Apply the effects of lens, sensor and codec; return `[H, W, 3]` uint8."""
    import cv2

    height, width = picture.shape[:2]
    bright = 1.0 if camera.flicker is None else float(np.exp(camera.flicker.at(time_s)[0]))
    picture = (picture * camera.tint * bright).clip(0, 1) ** camera.gamma
    if camera.blur:
        picture = cv2.GaussianBlur(picture, (0, 0), camera.blur)
    if camera.resolution < 1:
        small = (
            max(8, round(width * camera.resolution)),
            max(8, round(height * camera.resolution)),
        )
        picture = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    if camera.grain:
        noise = rng.standard_normal(picture.shape, dtype=np.float32)
        if camera.coarse:
            noise = 1.8 * cv2.GaussianBlur(noise, (0, 0), 0.7)
        picture = picture + camera.grain * noise
    coded: np.ndarray = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    if camera.jpeg:
        bgr = np.ascontiguousarray(coded[..., ::-1])
        _, blob = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, camera.jpeg])
        coded = np.asarray(cv2.imdecode(blob, cv2.IMREAD_COLOR))[..., ::-1]
    if camera.resolution < 1:
        coded = np.ascontiguousarray(coded)
        coded = cv2.resize(coded, (width, height), interpolation=cv2.INTER_CUBIC)
    return coded
