"""A photographic scene: cut-outs that move and sound in front of a photograph."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.world.photographic_assets import Assets, CutOut, read_sound
from coprop_plugin.world.photographic_motion import Motion
from coprop_plugin.world.photographic_render import Camera, Layer, owners, render
from coprop_plugin.world.scene import SAMPLE_RATE, SoundingScene, draw_turns
from coprop_plugin.world.sounds import room

_FADE_S = 0.02
_RIGID = ("vehicle", "instrument", "thing")
"""Kinds of objects that hardly deform."""


@dataclass(frozen=True)
class PhotographicObject:
    """One cut-out of a scene and the times at which it sounds.

    Args:
        layer: Its appearance and motion.
        kind: Index into the kinds of the assets; the class index is one more.
        events: Times at which it sounds: half-open (start, end) in seconds.
        sound: The sound file; None if it never sounds.
        gain: Loudness of the sound, 0..1.
        sounding_strength: Factor of its deformation while it sounds.
        shown: Whether it is visible; if not, its sound is off-screen.
    """

    layer: Layer
    kind: int
    events: tuple[tuple[float, float], ...] = ()
    sound: Path | None = None
    gain: float = 0.3
    sounding_strength: float = 1.0
    shown: bool = True

    @property
    def class_id(self) -> int:
        """Class index, 0 being the silent background."""
        return self.kind + 1


@dataclass(frozen=True)
class PhotographicScene(SoundingScene):
    """An audio-visual scene of photographs with exact truth, deterministic by seed and assets.

    Args:
        objects: The objects, from back to front. Those that are not shown have no pixels.
        duration_s: Length in seconds.
        size: Height and width in pixels.
        seed: Seed of grain and room noise.
        noise: Loudness of the room noise, 0..1.
        camera: The camera, with the background.
        kinds: Names of the kinds of the assets.

    Example:
        >>> assets = Assets.from_folder("assets")  # doctest: +SKIP
        >>> scene = PhotographicScene.drawn(assets, seed=1, size=(112, 160))  # doctest: +SKIP
        >>> scene.clip(fps=8).num_frames  # doctest: +SKIP
        80
    """

    objects: tuple[PhotographicObject, ...]
    camera: Camera = field(kw_only=True)
    kinds: tuple[str, ...] = field(kw_only=True)

    @property
    def num_classes(self) -> int:
        """Number of classes of the masks, including 0, the silent background."""
        return len(self.kinds) + 1

    @classmethod
    def drawn(
        cls,
        assets: Assets,
        seed: int,
        duration_s: float = 10.0,
        size: tuple[int, int] = (224, 224),
        off_screen: float = 0.2,
    ) -> "PhotographicScene":
        """Generate a scene.

        One to three objects sound in turns, together, or pause; up to three more never sound, and
        some of these look exactly like an object that does. There may be an off-screen sound.

        Args:
            assets: The cut-outs, backgrounds and sounds to use.
            seed: The same seed and assets give the same scene.
            duration_s: Length in seconds.
            size: Height and width in pixels.
            off_screen: Probability of a sound from outside the frame.
        """
        rng = np.random.default_rng([seed, 7])
        pace = float(np.exp(rng.uniform(*np.log((0.15, 1.6)))))
        voices = int(rng.choice([1, 2, 2, 3]))
        chosen = _voices(assets, voices, rng)
        camera = Camera.drawn(rng, assets.backgrounds[rng.integers(len(assets.backgrounds))], pace)
        events = draw_turns(rng, len(chosen), duration_s)
        if len(chosen) == 1 and rng.random() < 0.3:
            events = [[(0.0, duration_s)]]
        objects = [
            _placed(assets, cut_out, rng, duration_s, pace, tuple(when))
            for cut_out, when in zip(chosen, events, strict=True)
        ]
        for _ in range(int(rng.choice([0, 1, 1, 2, 3]))):
            twin = rng.random() < 0.12
            silent = chosen[0] if twin else assets.cut_outs[rng.integers(len(assets.cut_outs))]
            objects.append(_placed(assets, silent, rng, duration_s, pace, ()))
        objects = [objects[n] for n in rng.permutation(len(objects))]
        if rng.random() < off_screen:
            objects += _outside(assets, rng, duration_s, pace, {o.kind for o in objects})
        noise = float(np.exp(rng.uniform(*np.log((0.0005, 0.02)))))
        return cls(tuple(objects), duration_s, size, seed, noise, camera=camera, kinds=assets.kinds)

    def names(self, sounding: frozenset[int]) -> list[str]:
        """Return the names of some objects, given by their places in `objects`."""
        return [self.kinds[self.objects[n].kind] for n in sorted(sounding)]

    def frames(self, times: Sequence[float] | Tensor) -> Tensor:
        """Render the picture at each time: `[T, 3, H, W]` uint8 RGB."""
        pictures = []
        for time_s in map(float, times):
            layers, strengths = self._layers(time_s)
            pictures.append(render(layers, self.camera, time_s, self.size, self.seed, strengths))
        return torch.from_numpy(np.stack(pictures))

    def owners(self, time_s: float) -> np.ndarray:
        """Return which object each pixel shows: `[H, W]` uint8, place in `objects` from 1."""
        layers, strengths = self._layers(time_s)
        owner = owners(layers, self.camera, time_s, self.size, strengths)
        shown = [n for n, thing in enumerate(self.objects, start=1) if thing.shown]
        return np.array([0, *shown], np.uint8)[owner]

    def waveform(self) -> Tensor:
        """Return the mixed sound, `[samples]` float32 in [-1, 1] at 16 kHz."""
        mix = np.zeros(round(self.duration_s * SAMPLE_RATE), np.float32)
        for number, thing in enumerate(self.objects):
            if thing.sound is None:
                continue
            rng = np.random.default_rng([self.seed, number, 11])
            sound = read_sound(thing.sound)
            for start_s, end_s in thing.events:
                first = round(start_s * SAMPLE_RATE)
                last = min(round(end_s * SAMPLE_RATE), len(mix))
                if last > first:
                    mix[first:last] += thing.gain * _looped(sound, last - first, rng)
        times = np.arange(len(mix)) / SAMPLE_RATE
        mix += (self.noise * room(times, np.random.default_rng(self.seed))).astype(np.float32)
        return torch.from_numpy(np.clip(mix, -1, 1))

    def _layers(self, time_s: float) -> tuple[list[Layer], list[float]]:
        """Return the visible layers, and the factors of their deformation at a time."""
        heard = self.sounding(time_s)
        shown = [(n, thing) for n, thing in enumerate(self.objects) if thing.shown]
        return (
            [thing.layer for _, thing in shown],
            [thing.sounding_strength if n in heard else 1.0 for n, thing in shown],
        )


def _voices(assets: Assets, count: int, rng: np.random.Generator) -> list[CutOut]:
    """Draw cut-outs that have sounds, of different kinds if possible."""
    audible: dict[str, list[CutOut]] = {}
    for cut_out in assets.cut_outs:
        if assets.sounds_of(cut_out):
            audible.setdefault(cut_out.kind, []).append(cut_out)
    if not audible:
        return [assets.cut_outs[rng.integers(len(assets.cut_outs))] for _ in range(count)]
    kinds = rng.permutation(sorted(audible))[:count]
    # Half by kind, half by item: kinds with more items are more diverse.
    if rng.random() < 0.5:
        every = [cut_out for items in audible.values() for cut_out in items]
        return [every[n] for n in rng.permutation(len(every))[:count]]
    return [audible[kind][rng.integers(len(audible[kind]))] for kind in kinds]


def _placed(
    assets: Assets,
    cut_out: CutOut,
    rng: np.random.Generator,
    duration_s: float,
    pace: float,
    events: tuple[tuple[float, float], ...],
) -> PhotographicObject:
    """Draw the size, motion, light and sound of a cut-out."""
    radius = float(np.exp(rng.uniform(*np.log((0.14, 0.45)))))
    deforms = 0.15 if cut_out.kind in _RIGID else float(rng.uniform(0.3, 1))
    own_pace = pace * float(np.exp(rng.normal(0, 0.4)))
    leaves = bool(rng.random() < 0.3)
    motion = Motion.drawn(rng, duration_s, radius, pace=own_pace, leaves=leaves, deforms=deforms)
    gain = np.exp(rng.normal(0, 0.06, 3) + rng.normal(0, 0.12))
    mirrored = bool(rng.random() < 0.5)
    offset = rng.normal(0, 0.02, 3) + rng.normal(0, 0.03)
    shade = rng.normal(0, 0.1, 2)
    layer = Layer(
        cut_out,
        radius,
        motion,
        mirrored=mirrored,
        gain=(float(gain[0]), float(gain[1]), float(gain[2])),
        offset=(float(offset[0]), float(offset[1]), float(offset[2])),
        shade=(float(shade[0]), float(shade[1])),
        edge=float(rng.uniform(0, 0.5)),
        blur=float(rng.uniform(0.3, 1.0)) if rng.random() < 0.5 else 0.0,
        parallax=float(rng.uniform(0.6, 1.2)),
    )
    files = assets.sounds_of(cut_out)
    return PhotographicObject(
        layer,
        assets.class_id(cut_out) - 1,
        events if files else (),
        files[rng.integers(len(files))] if files and events else None,
        gain=float(np.exp(rng.uniform(*np.log((0.1, 0.6))))),
        sounding_strength=float(rng.uniform(1, 2)) if rng.random() < 0.4 else 1.0,
    )


def _outside(
    assets: Assets, rng: np.random.Generator, duration_s: float, pace: float, seen: set[int]
) -> list[PhotographicObject]:
    """Draw at most one object that sounds off-screen, of a kind that is not visible."""
    audible = [
        c for c in assets.cut_outs if assets.sounds_of(c) and assets.class_id(c) - 1 not in seen
    ]
    if not audible:
        return []
    start_s = float(rng.uniform(0, 0.6)) * duration_s
    events = ((start_s, min(duration_s, start_s + float(rng.uniform(0.2, 0.6)) * duration_s)),)
    thing = _placed(assets, audible[rng.integers(len(audible))], rng, duration_s, pace, events)
    return [
        PhotographicObject(thing.layer, thing.kind, events, thing.sound, thing.gain, shown=False)
    ]


def _looped(sound: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Repeat a sound from a random start, and fade it in and out: `[length]`."""
    start = int(rng.integers(len(sound)))
    index = (start + np.arange(length)) % len(sound)
    ramp = np.minimum(np.arange(length), np.arange(length)[::-1]) / (_FADE_S * SAMPLE_RATE)
    return sound[index] * np.clip(ramp, 0, 1).astype(np.float32)
