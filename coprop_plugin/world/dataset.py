"""Made-up scenes as data sets to learn from: single frames with sound, and short clips.

Item i of a data set is the same in every process and every run: it depends on the split, on
`seed` and on i alone. Scenes of different splits never have a seed in common.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.audio.log_mel import SILENCE, log_mel_at
from coprop_plugin.errors import DatasetError
from coprop_plugin.registry import DATASETS
from coprop_plugin.world.scene import SAMPLE_RATE, Scene
from coprop_plugin.world.splits import NUM_CLASSES, WorldDataset, segments_of
from coprop_plugin.world.sprites import sprite_clip

FRAME_IN_ITS_SECOND_S = 15 / 16


@DATASETS.register_module()
class WorldFrames(WorldDataset):
    """Single frames of scenes with their sound, to train a Keyframe Processor.

    An item is a mapping of `frame` `[3, H, W]` uint8 RGB, `log_mel` `[1, 96, 64]`, `mask`
    `[H, W]` int64 class numbers, `classes` `[C]` bool: which of them the mask holds.

    Some frames are taken as AVSBench takes them, whatever changes: 15/16 s into a second, to whose
    sound they listen; what sounds for half of that second sounds in the frame. The others are
    keyframes: in the first second of a segment, they listen to the 0.975 s that begin with it, or
    that end with the frame where this is later; never past the end of the segment.

    Args:
        split: See `WorldDataset`, as for all that is not below.
        length: Items. Four follow one another from one scene, so no shuffling is faster.
        size: Height and width in pixels.
        keyframes: How many of the frames are keyframes.
        silenced: How many sounds are replaced by digital silence where `augment` is on.
        **options: Of `WorldDataset`.

    Example:
        >>> item = WorldFrames("val", length=4, size=(32, 48))[0]
        >>> item["frame"].shape, item["mask"].shape
        (torch.Size([3, 32, 48]), torch.Size([32, 48]))
    """

    items_a_scene = 4

    def __init__(
        self,
        split: str = "train",
        length: int = 1_000,
        size: Sequence[int] = (112, 160),
        *,
        keyframes: float = 0.5,
        silenced: float = 0.04,
        **options: Any,
    ) -> None:
        super().__init__(split, length, size, **options)
        self.keyframes, self.silenced = keyframes, silenced

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        scene, waveform, rng = self._drawn(index)
        draw = self._keyframe if rng.random() < self.keyframes else self._second
        time_s, heard_at_s, sounding = draw(scene, rng)
        frame, mask = scene.frames([time_s])[0], scene.mask(time_s, sounding)
        log_mel = log_mel_at(waveform, SAMPLE_RATE, [heard_at_s])[0]
        if self.augment and rng.random() < 0.5:
            frame, mask = frame.flip(-1), mask.flip(-1)
        if self.augment and rng.random() < self.silenced:
            log_mel, mask = torch.full_like(log_mel, SILENCE), torch.zeros_like(mask)
        classes = torch.zeros(NUM_CLASSES, dtype=torch.bool)
        classes[mask.unique()] = True
        classes[0] = False
        return dict(frame=frame, log_mel=log_mel, mask=mask, classes=classes)

    def _second(
        self, scene: Scene, rng: np.random.Generator
    ) -> tuple[float, float, frozenset[int]]:
        """Return when a frame is taken, until when it listens, and what sounds in its second."""
        start_s = float(rng.uniform(0, scene.duration_s - 1))
        sounding = scene.prevailing(start_s, start_s + 1)
        time_s = start_s + FRAME_IN_ITS_SECOND_S
        return time_s, time_s, sounding

    def _keyframe(
        self, scene: Scene, rng: np.random.Generator
    ) -> tuple[float, float, frozenset[int]]:
        """Return when a keyframe is taken, until when it listens, and what sounds in it."""
        segments = segments_of(scene)
        start_s, end_s = segments[int(rng.integers(len(segments)))]
        time_s = start_s + float(rng.uniform(0, min(1.0, end_s - start_s)))
        # Control points are not found to the millisecond.
        heard_at_s = start_s + FRAME_IN_ITS_SECOND_S + float(rng.uniform(-0.1, 0.1))
        heard_at_s = min(max(time_s, heard_at_s), end_s)
        return time_s, heard_at_s, scene.sounding((start_s + end_s) / 2)


@DATASETS.register_module()
class WorldClips(WorldDataset):
    """Short clips of scenes that begin with something sounding, to train a propagator.

    An item is a mapping of `frames` `[T, 3, H, W]` uint8 RGB, `log_mel` `[T, 1, 96, 64]`, `times`
    `[T]` seconds, `masks` `[T, H, W]` int64: the objects that sound in the first frame, numbered
    from 1, wherever they still sound. What begins to sound later is background: it is a
    keyframe's to find.

    Args:
        split: See `WorldDataset`, as for all that is not below.
        length: Items.
        size: Height and width in pixels.
        num_frames: T.
        gap_s: Least and largest time from frame to frame, in seconds; one is drawn for each clip.
        hushed: How many clips fall silent at some frame where `augment` is on; their masks are
            empty from there, so that sound, not habit, decides.
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
        hushed: float = 0.1,
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
        self.hushed, self.crossing = hushed, crossing

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        scene, waveform, rng = self._drawn(index)
        times = self._times(scene, rng)
        frames, masks = scene.frames(times), renumbered(scene.masks(times, "instance"))
        log_mel = log_mel_at(waveform, SAMPLE_RATE, times)
        if self.augment and rng.random() < 0.5:
            frames, masks = frames.flip(-1), masks.flip(-1)
        if self.augment and rng.random() < self.hushed:
            first = int(rng.integers(1, self.num_frames))
            log_mel[first:], masks[first:] = SILENCE, 0
        return dict(frames=frames, log_mel=log_mel, times=times, masks=masks)

    def _times(self, scene: Scene, rng: np.random.Generator) -> Tensor:
        """Draw times that begin where something sounds that is to be seen; somewhere if nothing."""
        gap_s, crosses = float(rng.uniform(*self.gap_s)), rng.random() < self.crossing
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
    """Short silent clips of moving things of random shape, to train a propagator to follow.

    An item is a mapping of `frames` `[T, 3, H, W]` uint8 RGB and `masks` `[T, H, W]` int64.

    Args:
        split: See `WorldDataset`, as for all that is not below.
        length: Items.
        size: Height and width in pixels.
        num_frames: T.
        max_objects: Most marked things.
        speed: As in `sprite_clip`.
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
        speed: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(split, length, size, **options)
        self.num_frames, self.max_objects, self.speed = num_frames, max_objects, speed

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.scene_seed(index), 3])
        frames, masks = sprite_clip(rng, self.num_frames, self.size, self.max_objects, self.speed)
        return dict(frames=torch.from_numpy(frames), masks=torch.from_numpy(masks).long())


def renumbered(masks: Tensor) -> Tensor:
    """Keep the ids of the first frame, counted from 1 without gaps; others become background.

    Args:
        masks: `[T, H, W]` int64.

    Example:
        >>> renumbered(torch.tensor([[[0, 5]], [[5, 2]]])).tolist()
        [[[0, 1]], [[1, 0]]]
    """
    shown = [i for i in masks[0].unique().tolist() if i]
    table = torch.zeros(int(masks.max()) + 1, dtype=torch.long)
    table[shown] = torch.arange(1, len(shown) + 1)
    return table[masks]
