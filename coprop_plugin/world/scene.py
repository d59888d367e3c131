"""A synthetic scene: its objects, their motion, and when they sound."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.types import AVSBENCH_INSTANT_S, Clip, ControlPoints, Sampling
from coprop_plugin.types.timeline import change_frames, segment_starts_s
from coprop_plugin.world.objects import KINDS
from coprop_plugin.world.render import Look, owners, paint
from coprop_plugin.world.sounds import room

SAMPLE_RATE = 16_000
_FADE_S = 0.01
_SEGMENT_S = (0.8, 5.0)
"""The shortest and the longest segment."""

Ids = Literal["class", "binary", "instance"]
"""Ids in masks: class indices; 1; or the place in `Scene.objects`, counted from 1."""


class SoundingObject(Protocol):
    """What the ground truth of a scene needs to know of an object."""

    @property
    def class_id(self) -> int:
        """Class index, 0 being the silent background."""

    @property
    def events(self) -> tuple[tuple[float, float], ...]:
        """Times at which it sounds: half-open (start, end) in seconds."""


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene.

    Args:
        kind: Index into `KINDS`; the class index is one more.
        seed: Seed of this instance's look and sound.
        events: Times at which it sounds: half-open (start, end) in seconds.
        radius: Half its size, as a share of the shorter side of the frame.
        centre: Its mean position, as shares of width and height.
        swing: Amplitude of its motion, as shares of width and height.
        tempo: Frequency of its motion, per second.
    """

    kind: int
    seed: int
    events: tuple[tuple[float, float], ...]
    radius: float
    centre: tuple[float, float]
    swing: tuple[float, float]
    tempo: tuple[float, float]

    @property
    def class_id(self) -> int:
        """Class index, 0 being the silent background."""
        return self.kind + 1

    def pose(self, time_s: float) -> tuple[float, float, float, float]:
        """Return x, y as shares of the frame, scale, and angle in radians at a time."""
        start = self.seed % 628 / 100
        x = self.centre[0] + self.swing[0] * np.sin(2 * np.pi * self.tempo[0] * time_s + start)
        y = self.centre[1] + self.swing[1] * np.sin(2 * np.pi * self.tempo[1] * time_s + 2 * start)
        scale = 1 + 0.12 * np.sin(2 * np.pi * 0.13 * time_s + 3 * start)
        return x, y, scale, 0.35 * np.sin(2 * np.pi * 0.17 * time_s + start)


@dataclass(frozen=True)
class SoundingScene(ABC):
    """Base class of scenes: masks, sounding sets, control points and clips from their events.

    Args:
        objects: The objects, from back to front.
        duration_s: Length in seconds.
        size: Height and width in pixels.
        seed: Seed of background, room noise and camera.
        noise: Loudness of the room noise, 0..1.
    """

    objects: tuple[SoundingObject, ...]
    duration_s: float
    size: tuple[int, int]
    seed: int = 0
    noise: float = 0.004

    @property
    @abstractmethod
    def num_classes(self) -> int:
        """Number of classes of the masks, including 0, the silent background."""

    @abstractmethod
    def frames(self, times: Sequence[float] | Tensor) -> Tensor:
        """Render the picture at each time: `[T, 3, H, W]` uint8 RGB."""

    @abstractmethod
    def owners(self, time_s: float) -> np.ndarray:
        """Return which object each pixel shows: `[H, W]` uint8, place in `objects` from 1."""

    @abstractmethod
    def waveform(self) -> Tensor:
        """Return the mixed sound, `[samples]` float32 in [-1, 1] at 16 kHz."""

    @abstractmethod
    def names(self, sounding: frozenset[int]) -> list[str]:
        """Return the names of some objects, given by their places in `objects`."""

    def masks(self, times: Sequence[float] | Tensor, ids: Ids = "class") -> Tensor:
        """Return masks of the visible sounding objects at each time: `[T, H, W]` int64.

        Args:
            times: In seconds.
            ids: `"class"`: class indices; `"binary"`: 1; `"instance"`: place in `objects`,
                counted from 1.
        """
        return torch.stack([self.mask(float(t), self.sounding(float(t)), ids) for t in times])

    def mask(self, time_s: float, sounding: frozenset[int], ids: Ids = "class") -> Tensor:
        """Return a mask of the visible pixels of some objects at a time: `[H, W]` int64.

        Args:
            time_s: In seconds.
            sounding: The objects: places in `objects`, counted from 0.
            ids: As in `masks`.
        """
        owner = torch.from_numpy(self.owners(time_s))
        names = {
            "binary": [1] * len(self.objects),
            "class": [thing.class_id for thing in self.objects],
            "instance": list(range(1, len(self.objects) + 1)),
        }[ids]
        shown = [names[n] if n in sounding else 0 for n in range(len(self.objects))]
        return torch.tensor([0, *shown])[owner.long()]

    def truth(self, clip: Clip, ids: Ids = "class") -> Tensor:
        """Return the masks of a clip of this scene, `[T, H, W]` int64.

        An object counts in a frame if it sounds for at least half of the frame's span.
        """
        pairs = zip(clip.times.tolist(), self._sets(clip), strict=True)
        return torch.stack([self.mask(time_s, heard, ids) for time_s, heard in pairs])

    def sounding(self, time_s: float) -> frozenset[int]:
        """Return the objects that sound at a time: places in `objects`, counted from 0."""
        return frozenset(
            n
            for n, thing in enumerate(self.objects)
            if any(start <= time_s < end for start, end in thing.events)
        )

    def prevailing(self, begin_s: float, stop_s: float) -> frozenset[int]:
        """Return the objects that sound for at least half of an interval: places in `objects`."""

        def heard_s(thing: SoundingObject) -> float:
            return sum(max(0.0, min(stop_s, e) - max(begin_s, s)) for s, e in thing.events)

        # Slightly less than half, or rounding would decide about exactly half.
        least_s = (stop_s - begin_s) * 0.499
        return frozenset(n for n, thing in enumerate(self.objects) if heard_s(thing) >= least_s)

    @property
    def changes(self) -> bool:
        """Whether the set of sounding objects ever changes."""
        edges = {s for thing in self.objects for event in thing.events for s in event}
        return len({self.sounding(s) for s in (0.0, *edges) if 0 <= s < self.duration_s}) > 1

    def control_points(self, clip: Clip) -> ControlPoints:
        """Return the true control points of a clip of this scene."""
        sets = self._sets(clip)
        edges = sorted({s for thing in self.objects for event in thing.events for s in event})
        edges = [s for s in edges if 0 < s < self.duration_s]
        states = [self.sounding(s) for s in (0.0, *edges)]
        return ControlPoints.from_indices(
            change_frames(sets),
            clip.num_frames,
            source="truth",
            silent=torch.tensor([not heard for heard in sets]),
            starts_s=segment_starts_s(edges, clip, states, sets),
        )

    def clip(self, fps: float = 1.0, sampling: Sampling = "pts") -> Clip:
        """Return the scene as a clip, sampled like a file."""
        offset = AVSBENCH_INSTANT_S if sampling == "avsbench" else 0.0
        times = torch.arange(int(self.duration_s * fps), dtype=torch.float64) / fps + offset
        return Clip(self.frames(times), self.waveform(), SAMPLE_RATE, times, sampling=sampling)

    def _sets(self, clip: Clip) -> list[frozenset[int]]:
        """Return for each frame the objects that sound for at least half of its span."""
        return [self.prevailing(begin, stop) for begin, stop in clip.spans.tolist()]


@dataclass(frozen=True)
class Scene(SoundingScene):
    """An audio-visual scene with exact truth, of any size and length, deterministic by seed.

    Args:
        objects: The objects, from back to front.
        duration_s: Length in seconds.
        size: Height and width in pixels.
        seed: Seed of background, room noise and camera.
        noise: Loudness of the room noise, 0..1.

    Example:
        >>> scene = Scene.made_up(seed=1, duration_s=4.0, size=(48, 64))
        >>> clip = scene.clip(fps=2)
        >>> clip.num_frames, scene.masks(clip.times).shape
        (8, torch.Size([8, 48, 64]))
    """

    objects: tuple[SceneObject, ...]

    @property
    def num_classes(self) -> int:
        """Number of classes of the masks, including 0, the silent background."""
        return len(KINDS) + 1

    @classmethod
    def made_up(
        cls,
        seed: int,
        duration_s: float = 10.0,
        size: tuple[int, int] = (240, 320),
        num_objects: int = 3,
        steady: bool = False,
    ) -> "Scene":
        """Generate a scene: objects alternate, overlap, pause, and one never sounds.

        Args:
            seed: The same seed gives the same scene.
            duration_s: Length in seconds.
            size: Height and width in pixels.
            num_objects: Number of objects, including the silent one.
            steady: Whether one object sounds all the time, without changes.
        """
        rng = np.random.default_rng(seed)
        kinds = rng.choice(len(KINDS), num_objects, replace=False)
        events = draw_turns(rng, max(1, num_objects - 1), duration_s)
        if steady:
            events = [[(0.0, duration_s)]]
        events += [[] for _ in range(num_objects - len(events))]
        columns = (np.arange(num_objects) + 0.5) / num_objects
        objects = tuple(
            SceneObject(
                kind=int(kind),
                seed=int(rng.integers(1 << 30)),
                events=tuple(events[n]),
                radius=float(rng.uniform(0.17, 0.24)),
                centre=(float(columns[n]), float(rng.uniform(0.35, 0.65))),
                swing=(float(rng.uniform(0.05, 0.15)), float(rng.uniform(0.05, 0.15))),
                tempo=(float(rng.uniform(0.05, 0.15)), float(rng.uniform(0.05, 0.2))),
            )
            for n, kind in enumerate(kinds)
        )
        return cls(objects, duration_s, size, seed)

    def frames(self, times: Sequence[float] | Tensor) -> Tensor:
        """Render the picture at each time: `[T, 3, H, W]` uint8 RGB."""
        pictures = (paint(self._looks(float(t)), float(t), self.size, self.seed) for t in times)
        return torch.stack([torch.from_numpy(picture) for picture in pictures])

    def owners(self, time_s: float) -> np.ndarray:
        """Return which object each pixel shows: `[H, W]` uint8, place in `objects` from 1."""
        return owners(self._looks(time_s), self.size)

    def names(self, sounding: frozenset[int]) -> list[str]:
        """Return the names of some objects, given by their places in `objects`."""
        return [KINDS[self.objects[n].kind].name for n in sorted(sounding)]

    def waveform(self) -> Tensor:
        """Return the mixed sound, `[samples]` float32 in [-1, 1] at 16 kHz."""
        mix = np.zeros(round(self.duration_s * SAMPLE_RATE))
        for thing in self.objects:
            rng = np.random.default_rng(thing.seed)
            gain = rng.uniform(0.25, 0.4)
            for start, end in thing.events:
                first, last = (round(s * SAMPLE_RATE) for s in (start, end))
                times = np.arange(last - first) / SAMPLE_RATE
                fade = np.minimum(times, times[::-1]) / _FADE_S
                voice = KINDS[thing.kind].voice(times, np.random.default_rng(thing.seed))
                mix[first:last] += gain * (voice * np.clip(fade, 0, 1))[: len(mix) - first]
        times = np.arange(len(mix)) / SAMPLE_RATE
        mix += self.noise * room(times, np.random.default_rng(self.seed))
        return torch.from_numpy(np.clip(mix, -1, 1).astype(np.float32))

    def _looks(self, time_s: float) -> list[Look]:
        return [Look(KINDS[o.kind], o.seed, o.radius, o.pose(time_s)) for o in self.objects]


def draw_turns(
    rng: np.random.Generator, num_voices: int, duration_s: float
) -> list[list[tuple[float, float]]]:
    """Draw the events of each voice: short and long segments of one voice, two, or none."""
    events: list[list[tuple[float, float]]] = [[] for _ in range(num_voices)]
    time_s = 0.0
    before: frozenset[int] = frozenset()
    while time_s < duration_s:
        length_s = float(np.exp(rng.uniform(*np.log(_SEGMENT_S))))
        end = min(duration_s, round(time_s + length_s, 2))
        now = before
        while now == before:
            count = int(rng.choice([0, 1, 1, 1, 2])) if num_voices > 1 else int(rng.integers(0, 2))
            now = frozenset(rng.choice(num_voices, min(count, num_voices), replace=False).tolist())
        for voice in now:
            continues = events[voice] and events[voice][-1][1] == time_s
            start = events[voice].pop()[0] if continues else time_s
            events[voice].append((start, end))
        time_s, before = end, now
    return events
