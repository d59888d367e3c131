"""Short training clips for a propagator: of synthetic scenes, of random sprites, or both."""

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
from coprop_plugin.world.scene import SAMPLE_RATE, SoundingScene
from coprop_plugin.world.sounds import babble, room
from coprop_plugin.world.splits import Split, WorldDataset, segments_of
from coprop_plugin.world.sprites import sprite_clip

_BEFORE_S = 1.0
"""Seconds of audio before the first frame of a sprite clip."""


@DATASETS.register_module()
class WorldClips(WorldDataset):
    """Short clips of scenes that start with a sounding object, to train a propagator.

    An item is a mapping of `frames` `[T, 3, H, W]` uint8 RGB, `log_mel` `[T, 1, 96, 64]`, `times`
    `[T]` seconds, `masks` `[T, H, W]` int64: the objects that sound in the first frame, numbered
    from 1, while they sound; and `tracks` `[T, H, W]`: the same while they are visible, the target
    without audio. Objects that start to sound later are background: they need a keyframe. `words`
    names the objects that sound first, e.g. "drum, flute", for text guidance.

    Args:
        split: As in `WorldDataset`, like the other arguments not below.
        length: Number of items.
        size: Height and width in pixels.
        num_frames: T.
        gap_s: Minimum and maximum time from frame to frame, in seconds; one is drawn for each clip,
            log-uniformly.
        silence_prob: With `augment`, probability that audio and masks stop at a random frame, so
            that the model depends on the audio.
        crossing: Share of clips that may cross into the next segment, as with a missed control
            point; the others end with their segment.
        **options: Options of `WorldDataset`.

    Example:
        >>> item = WorldClips("val", length=4, size=(32, 48), num_frames=3)[0]
        >>> item["frames"].shape, bool(item["masks"][0].any())
        (torch.Size([3, 3, 32, 48]), True)
    """

    def __init__(
        self,
        split: Split = "train",
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
                "Expected num_frames of 2 or more, and gap_s as minimum and maximum, e.g. (0.1, "
                f"1.0), got {num_frames} and {tuple(gap_s)}."
            )
        self.num_frames, self.gap_s = num_frames, tuple(gap_s)
        self.silence_prob, self.crossing = silence_prob, crossing

    def __getitem__(self, index: int) -> dict[str, Any]:
        scene, waveform, rng = self._drawn(index)
        times = self._times(scene, rng)
        frames, (masks, tracks) = scene.frames(times), _followed(scene, times.tolist())
        log_mel = log_mel_at(waveform, SAMPLE_RATE, times)
        frames, masks, tracks = self._mirrored(rng, frames, masks, tracks)
        if self._happens(rng, self.silence_prob):
            first = int(rng.integers(1, self.num_frames))
            log_mel[first:], masks[first:] = SILENCE, 0
        names = scene.names(scene.sounding(float(times[0])))
        return dict(
            frames=frames,
            log_mel=log_mel,
            times=times,
            masks=masks,
            tracks=tracks,
            words=", ".join(names) or "silence",
        )

    def _times(self, scene: SoundingScene, rng: np.random.Generator) -> Tensor:
        """Draw times that start at a visible sounding object, or anywhere if there is none."""
        gap_s = float(np.exp(rng.uniform(*np.log(self.gap_s))))
        crosses = rng.random() < self.crossing
        segments = segments_of(scene)
        for _ in range(20):
            start, end = segments[int(rng.integers(len(segments)))]
            # Most start like segments, shortly after their control point.
            start += float(rng.uniform(0, 0.5)) * min(1.0, end - start)
            if bool(scene.masks([start]).any()):
                break
        end = scene.duration_s if crosses else end
        gap_s = min(gap_s, (end - start) / self.num_frames)
        return start + gap_s * torch.arange(self.num_frames, dtype=torch.float64)


@DATASETS.register_module()
class SpriteClips(WorldDataset):
    """Short clips of moving sprites of random shape, to train a propagator's tracking.

    An item is as in `WorldClips`. The audio belongs to all labelled sprites together: one or two
    random sounds or voices of the scenes' kinds, with pauses, sometimes over a continuous other
    sound. It starts before the first frame, or near it, after another sound.

    Args:
        split: As in `WorldDataset`, like the other arguments not below.
        length: Number of items.
        size: Height and width in pixels.
        num_frames: T.
        max_objects: Maximum number of labelled sprites.
        speed: Minimum and maximum `speed` of `sprite_clip`; one is drawn for each clip,
            log-uniformly.
        gap_s: Minimum and maximum time from frame to frame, in seconds, for the audio.
        silence_prob: Probability that the audio stops at some time after the first frame.
        swapped: Probability that another sound replaces it at some time. In both cases the masks
            are empty from then on.
        joined: Probability that another sound is added at some time; masks do not change.
        **options: Options of `WorldDataset`.

    Example:
        >>> SpriteClips("val", length=4, size=(32, 48), num_frames=3)[0]["masks"].shape
        torch.Size([3, 32, 48])
    """

    def __init__(
        self,
        split: Split = "train",
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

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.scene_seed(index), 3])
        speed = float(np.exp(rng.uniform(*np.log(self.speed))))
        frames, masks = sprite_clip(rng, self.num_frames, self.size, self.max_objects, speed)
        shortest_s, longest_s = self.gap_s
        gap_s = float(rng.uniform(shortest_s, longest_s))
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
        """Draw the audio, the time until which the labelled sprites sound, and its names."""
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
    """Draw a sound and its name: a random one, or a voice of the scenes' kinds."""
    instance = np.random.default_rng(int(rng.integers(1 << 30)))
    kind = KINDS[int(rng.integers(len(KINDS)))]
    voice, name = (babble, "something") if rng.random() < 0.6 else (kind.voice, kind.name)
    loudness = float(np.exp(rng.uniform(*np.log((0.08, 0.4)))))
    return loudness * voice(times, instance), name


@DATASETS.register_module(name=["InterleavedDataset", "TakingTurns"])
class InterleavedDataset(Dataset):
    """Items of several data sets, interleaved: item i is of data set i mod n.

    Args:
        parts: Configs of data sets whose items have the same fields.

    Raises:
        DatasetError: If `parts` is empty.

    Example:
        >>> part = dict(type="SpriteClips", length=4, size=(32, 48), num_frames=2)
        >>> len(InterleavedDataset([part, dict(part, split="val")]))
        8
    """

    def __init__(self, parts: Sequence[Mapping[str, Any]]) -> None:
        if not parts:
            raise DatasetError("Expected configs of data sets as `parts`, got no data sets.")
        self.parts = [build(DATASETS, part, verb="__getitem__") for part in parts]

    def __len__(self) -> int:
        return min(len(part) for part in self.parts) * len(self.parts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        turn, which = divmod(index, len(self.parts))
        return self.parts[which][turn]


def _followed(scene: SoundingScene, times: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return the first sounding objects, numbered from 1, while they sound, and while visible."""
    first = scene.sounding(times[0])
    seen = torch.stack([scene.mask(time_s, first, "instance") for time_s in times])
    heard = torch.stack(
        [scene.mask(time_s, first & scene.sounding(time_s), "instance") for time_s in times]
    )
    shown = [i for i in seen[0].unique().tolist() if i]
    table = torch.zeros(len(scene.objects) + 1, dtype=torch.long)
    table[shown] = torch.arange(1, len(shown) + 1)
    return table[heard], table[seen]
