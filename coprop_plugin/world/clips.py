"""Short clips to train a propagator with: of made-up scenes, of things of any shape, of both."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from coprop_plugin.audio.log_mel import SILENCE, log_mel_at
from coprop_plugin.errors import DatasetError
from coprop_plugin.registry import DATASETS, build
from coprop_plugin.world.objects import KINDS
from coprop_plugin.world.scene import SAMPLE_RATE, Scene
from coprop_plugin.world.sounds import babble, room
from coprop_plugin.world.splits import WorldDataset, segments_of
from coprop_plugin.world.sprites import sprite_clip

_BEFORE_S = 1.0
"""How much is heard before the first frame of things without a scene."""


@DATASETS.register_module()
class WorldClips(WorldDataset):
    """Short clips of scenes that begin with something sounding, to train a propagator.

    An item is a mapping of `frames` `[T, 3, H, W]` uint8 RGB, `log_mel` `[T, 1, 96, 64]`, `times`
    `[T]` seconds, `masks` `[T, H, W]` int64: the objects that sound in the first frame, numbered
    from 1, wherever they still sound; and `tracks` `[T, H, W]`: the same wherever they are to be
    seen, which is all that can be followed without sound. What begins to sound later is background:
    it is a keyframe's to find. `words` names what sounds first, "drum, flute" say, for a propagator
    that is guided by words.

    Args:
        split: See `WorldDataset`, as for all that is not below.
        length: Items.
        size: Height and width in pixels.
        num_frames: T.
        gap_s: Least and largest time from frame to frame, in seconds; one is drawn for each clip,
            small ones as often as large ones.
        silence_prob: Probability that, where `augment` is on, sound and masks stop at a random
            frame, so that the model learns from the sound and not from habit.
        crossing: How many clips may go on where another segment begins, as if its control point
            had been missed; the others end with their segment.
        **options: Of `WorldDataset`.

    Example:
        >>> item = WorldClips("val", length=4, size=(32, 48), num_frames=3)[0]
        >>> item["frames"].shape, bool(item["masks"][0].any())
        (torch.Size([3, 3, 32, 48]), True)
    """

    def __init__(
        self,
        split: str = "train",
        length: int = 1_000,
        size: Sequence[int] = (112, 160),
        *,
        num_frames: int = 5,
        gap_s: Sequence[float] = (0.1, 1.0),
        silence_prob: float = 0.1,
        crossing: float = 0.3,
        **options: Any,
    ) -> None:
        super().__init__(split, length, size, **options)
        if num_frames < 2 or not 0 < gap_s[0] <= gap_s[1]:
            raise DatasetError(
                f"Got num_frames={num_frames} and gap_s={tuple(gap_s)}; wanted two frames or more, "
                "and the least gap before the largest, (0.1, 1.0) say."
            )
        self.num_frames, self.gap_s = num_frames, tuple(gap_s)
        self.silence_prob, self.crossing = silence_prob, crossing

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        scene, waveform, rng = self._drawn(index)
        times = self._times(scene, rng)
        frames, (masks, tracks) = scene.frames(times), _followed(scene, times.tolist())
        log_mel = log_mel_at(waveform, SAMPLE_RATE, times)
        frames, masks, tracks = self._mirrored(rng, frames, masks, tracks)
        if self._happens(rng, self.silence_prob):
            first = int(rng.integers(1, self.num_frames))
            log_mel[first:], masks[first:] = SILENCE, 0
        names = [KINDS[scene.objects[n].kind].name for n in sorted(scene.sounding(float(times[0])))]
        return dict(
            frames=frames,
            log_mel=log_mel,
            times=times,
            masks=masks,
            tracks=tracks,
            words=", ".join(names) or "silence",
        )

    def _times(self, scene: Scene, rng: np.random.Generator) -> Tensor:
        """Draw times that begin where something sounds that is to be seen; somewhere if nothing."""
        gap_s = float(np.exp(rng.uniform(*np.log(self.gap_s))))
        crosses = rng.random() < self.crossing
        segments = segments_of(scene)
        for _ in range(20):
            start, end = segments[int(rng.integers(len(segments)))]
            # Most begin as segments do, shortly after their control point.
            start += float(rng.uniform(0, 0.5)) * min(1.0, end - start)
            if bool(scene.masks([start]).any()):
                break
        end = scene.duration_s if crosses else end
        gap_s = min(gap_s, (end - start) / self.num_frames)
        return start + gap_s * torch.arange(self.num_frames, dtype=torch.float64)


@DATASETS.register_module()
class SpriteClips(WorldDataset):
    """Short clips of moving things of random shape, to train a propagator to follow.

    An item is as in `WorldClips`. What is heard belongs to all marked things together: a sound of
    any kind or one of the world's voices, or two, with pauses, sometimes over something else that
    goes on all the time. It begins before the first frame, or just there, after another one.

    Args:
        split: See `WorldDataset`, as for all that is not below.
        length: Items.
        size: Height and width in pixels.
        num_frames: T.
        max_objects: Most marked things.
        speed: Least and largest `speed` of `sprite_clip`; one is drawn for each clip, small ones
            as often as large ones.
        gap_s: Least and largest time from frame to frame, in seconds, as the sound goes.
        silence_prob: In how many clips the sound stops at some time after the first frame.
        swapped: In how many clips another voice takes over at some time. In either case nothing
            that was marked sounds from there on, and masks are empty.
        joined: In how many clips another voice joins in at some time; masks stay.
        **options: Of `WorldDataset`.

    Example:
        >>> SpriteClips("val", length=4, size=(32, 48), num_frames=3)[0]["masks"].shape
        torch.Size([3, 32, 48])
    """

    def __init__(
        self,
        split: str = "train",
        length: int = 1_000,
        size: Sequence[int] = (112, 160),
        *,
        num_frames: int = 5,
        max_objects: int = 4,
        speed: Sequence[float] = (0.05, 1.5),
        gap_s: Sequence[float] = (0.1, 1.0),
        silence_prob: float = 0.15,
        swapped: float = 0.15,
        joined: float = 0.15,
        **options: Any,
    ) -> None:
        super().__init__(split, length, size, **options)
        self.num_frames, self.max_objects, self.speed = num_frames, max_objects, tuple(speed)
        self.gap_s, self.silence_prob, self.swapped = tuple(gap_s), silence_prob, swapped
        self.joined = joined

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.scene_seed(index), 3])
        speed = float(np.exp(rng.uniform(*np.log(self.speed))))
        frames, masks = sprite_clip(rng, self.num_frames, self.size, self.max_objects, speed)
        gap_s = float(rng.uniform(*self.gap_s))
        times = _BEFORE_S + gap_s * torch.arange(self.num_frames, dtype=torch.float64)
        waveform, until_s, names = self._sound(rng, float(times[-1]) + 1)
        tracks = torch.from_numpy(masks).long()
        return dict(
            frames=torch.from_numpy(frames),
            log_mel=log_mel_at(waveform, SAMPLE_RATE, times),
            times=times,
            masks=tracks * (times < until_s)[:, None, None],
            tracks=tracks,
            words=", ".join(names),
        )

    def _sound(
        self, rng: np.random.Generator, duration_s: float
    ) -> tuple[Tensor, float, list[str]]:
        """Draw a sound, until when it is that of the marked things, and its names."""
        times = np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
        first, second, other, before, always = (_voice(times, rng) for _ in range(5))
        (own, name), names = first, [first[1]]
        if rng.random() < 0.3:
            own, names = own + second[0], [name, second[1]]
        from_s = _BEFORE_S - float(rng.uniform(0, 0.5)) if rng.random() < 0.5 else 0.0
        what, until_s = rng.random(), float(rng.uniform(_BEFORE_S + 0.1, duration_s - 1))
        lasts_s = until_s if what < self.silence_prob + self.swapped else duration_s
        mix = own * ((from_s <= times) & (times < lasts_s))
        if rng.random() < 0.7:
            mix = mix + before[0] * (times < from_s)
        if self.silence_prob <= what < self.silence_prob + self.swapped + self.joined:
            mix = mix + other[0] * (times >= until_s)
        if rng.random() < 0.15:
            mix = mix + 0.5 * always[0]
        mix = mix + float(rng.uniform(0, 0.01)) * room(times, rng)
        return torch.from_numpy(np.clip(mix, -1, 1).astype(np.float32)), lasts_s, names


def _voice(times: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Draw a sound and its name: of any kind, or of one of the world's."""
    instance = np.random.default_rng(int(rng.integers(1 << 30)))
    kind = KINDS[int(rng.integers(len(KINDS)))]
    voice, name = (babble, "something") if rng.random() < 0.6 else (kind.voice, kind.name)
    loudness = float(np.exp(rng.uniform(*np.log((0.08, 0.4)))))
    return loudness * voice(times, instance), name


@DATASETS.register_module(name=["InterleavedDataset", "TakingTurns"])
class InterleavedDataset(Dataset):
    """Items of several data sets in turn: item i is of data set i mod n.

    Args:
        parts: Configs of data sets whose items have the same fields.

    Raises:
        DatasetError: If there are none.

    Example:
        >>> part = dict(type="SpriteClips", length=4, size=(32, 48), num_frames=2)
        >>> len(InterleavedDataset([part, dict(part, split="val")]))
        8
    """

    def __init__(self, parts: Sequence[Mapping[str, Any]]) -> None:
        if not parts:
            raise DatasetError("Got no data sets to take turns; give their configs as `parts`.")
        self.parts = [build(DATASETS, part, verb="__getitem__") for part in parts]

    def __len__(self) -> int:
        return min(len(part) for part in self.parts) * len(self.parts)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        turn, which = divmod(index, len(self.parts))
        return self.parts[which][turn]


def _followed(scene: Scene, times: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return what sounds first, numbered from 1: where it still sounds, and where it is seen."""
    first = scene.sounding(times[0])
    seen = torch.stack([scene.mask(time_s, first, "instance") for time_s in times])
    heard = torch.stack(
        [scene.mask(time_s, first & scene.sounding(time_s), "instance") for time_s in times]
    )
    shown = [i for i in seen[0].unique().tolist() if i]
    table = torch.zeros(len(scene.objects) + 1, dtype=torch.long)
    table[shown] = torch.arange(1, len(shown) + 1)
    return table[heard], table[seen]
