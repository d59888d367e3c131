"""Data set of synthetic scenes in AVSBench's form: one frame per second, with its audio."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from coprop_plugin.audio.log_mel import SILENCE, log_mel_at
from coprop_plugin.errors import DatasetError
from coprop_plugin.registry import DATASETS
from coprop_plugin.types import AVSBENCH_INSTANT_S
from coprop_plugin.world.scene import SAMPLE_RATE
from coprop_plugin.world.splits import Split, WorldDataset


@DATASETS.register_module()
class WorldSeconds(WorldDataset):
    """Clips of scenes, one frame per second, to train the released families of models.

    An item is a mapping of `frames` `[T, 3, H, W]` uint8 RGB, `log_mel` `[T, 1, 96, 64]` and
    `masks` `[T, H, W]` int64 class numbers. Frames are sampled 15/16 s into their second, with the
    audio of that second; an object sounds in the frame if it sounds for half of the second.

    Args:
        split: As in `WorldDataset`, like the other arguments not below.
        length: Number of items. Two consecutive ones share a scene: reading in order is faster.
        size: Height and width in pixels.
        num_frames: T, 1 to 10.
        silenced: With `augment`, share of clips whose audio is replaced by digital silence.
        **options: Options of `WorldDataset`.

    Raises:
        DatasetError: If `num_frames` is out of range, or as in `WorldDataset`.

    Example:
        >>> item = WorldSeconds("val", length=4, size=(32, 48), num_frames=2)[0]
        >>> item["frames"].shape, item["masks"].shape
        (torch.Size([2, 3, 32, 48]), torch.Size([2, 32, 48]))
    """

    items_a_scene = 2

    def __init__(
        self,
        split: Split = "train",
        length: int = 1_000,
        size: Sequence[int] = (112, 160),
        *,
        num_frames: int = 5,
        silenced: float = 0.04,
        **options: Any,
    ) -> None:
        super().__init__(split, length, size, **options)
        if not 1 <= num_frames <= 10:
            raise DatasetError(
                f"Expected num_frames from 1 to 10, the seconds of a scene, got {num_frames}."
            )
        self.num_frames, self.silenced = num_frames, silenced

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        scene, waveform, rng = self._drawn(index)
        first_s = float(rng.uniform(0, scene.duration_s - self.num_frames))
        seconds = [first_s + n for n in range(self.num_frames)]
        times = [start_s + AVSBENCH_INSTANT_S for start_s in seconds]
        pairs = zip(times, seconds, strict=True)
        frames = scene.frames(times)
        masks = torch.stack([scene.mask(at, scene.prevailing(s, s + 1)) for at, s in pairs])
        log_mel = log_mel_at(waveform, SAMPLE_RATE, times)
        frames, masks = self._mirrored(rng, frames, masks)
        if self._happens(rng, self.silenced):
            log_mel, masks = torch.full_like(log_mel, SILENCE), torch.zeros_like(masks)
        return dict(frames=frames, log_mel=log_mel, masks=masks)
