"""Data set of single frames with audio from synthetic scenes.

Item i of a data set is the same in every process and every run: it depends on the split, on
`seed` and on i only. Scenes of different splits have different seeds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.audio.log_mel import SILENCE, log_mel_at
from coprop_plugin.registry import DATASETS
from coprop_plugin.types import AVSBENCH_INSTANT_S
from coprop_plugin.world.scene import SAMPLE_RATE, SoundingScene
from coprop_plugin.world.splits import Split, WorldDataset, segments_of


@DATASETS.register_module()
class WorldFrames(WorldDataset):
    """Single frames of scenes with their audio, to train a Keyframe Processor.

    An item is a mapping of `frame` `[3, H, W]` uint8 RGB, `log_mel` `[1, 96, 64]`, `mask`
    `[H, W]` int64 class numbers, `classes` `[C]` bool: the classes in the mask.

    Some frames are sampled as in AVSBench, independently of changes: 15/16 s into a second, with
    the audio of that second; an object sounds in the frame if it sounds for half of the second. The
    others are keyframes in the first second of a segment: their audio is the first 0.975 s of the
    segment, or the 0.975 s that end with the frame if this is later; never past the segment's end.

    Args:
        split: As in `WorldDataset`, like the other arguments not below.
        length: Number of items. Four consecutive ones share a scene: reading in order is faster.
        size: Height and width in pixels.
        keyframes: Share of keyframes.
        silenced: With `augment`, share of items whose audio is replaced by digital silence.
        **options: Options of `WorldDataset`.

    Example:
        >>> item = WorldFrames("val", length=4, size=(32, 48))[0]
        >>> item["frame"].shape, item["mask"].shape
        (torch.Size([3, 32, 48]), torch.Size([32, 48]))
    """

    items_a_scene = 4

    def __init__(
        self,
        split: Split = "train",
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
        frame, mask = self._mirrored(rng, frame, mask)
        if self._happens(rng, self.silenced):
            log_mel, mask = torch.full_like(log_mel, SILENCE), torch.zeros_like(mask)
        classes = torch.zeros(self.num_classes, dtype=torch.bool)
        classes[mask.unique()] = True
        classes[0] = False
        return dict(frame=frame, log_mel=log_mel, mask=mask, classes=classes)

    def _second(
        self, scene: SoundingScene, rng: np.random.Generator
    ) -> tuple[float, float, frozenset[int]]:
        """Return the time of a frame, the end of its audio, and the objects of its second."""
        start_s = float(rng.uniform(0, scene.duration_s - 1))
        sounding = scene.prevailing(start_s, start_s + 1)
        time_s = start_s + AVSBENCH_INSTANT_S
        return time_s, time_s, sounding

    def _keyframe(
        self, scene: SoundingScene, rng: np.random.Generator
    ) -> tuple[float, float, frozenset[int]]:
        """Return the time of a keyframe, the end of its audio, and the objects sounding in it."""
        segments = segments_of(scene)
        start_s, end_s = segments[int(rng.integers(len(segments)))]
        time_s = start_s + float(rng.uniform(0, min(1.0, end_s - start_s)))
        # Predicted control points are not exact.
        heard_at_s = start_s + AVSBENCH_INSTANT_S + float(rng.uniform(-0.1, 0.1))
        heard_at_s = min(max(time_s, heard_at_s), end_s)
        return time_s, heard_at_s, scene.sounding((start_s + end_s) / 2)
