"""Examples to train a mask refiner: cues of propagated clips, each used several times."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from coprop_plugin.errors import DatasetError
from coprop_plugin.layers import as_rgb
from coprop_plugin.propagation.refined import RefinedPropagator
from coprop_plugin.propagation.refiner import MaskRefiner
from coprop_plugin.registry import DATASETS, build

_Examples = tuple[Tensor, ...]


@DATASETS.register_module()
class RefinerExamples(Dataset[dict[str, Tensor]]):
    """Frames of propagated clips as examples for a `MaskRefiner`; each depends on its index only.

    The masks of a clip's first frame are propagated without corrections; each other frame and
    object is an example. An item is a mapping of `odds` `[1, h, w]`, `maps` `[12, h, w]` and
    `truth` `[1, h, w]`, see `recorded_cues`.

    To render and propagate a clip takes as long as dozens of training examples. So a number of
    clips is kept in memory, items are drawn from all of them at random, and one after another is
    replaced by a new clip.

    Args:
        clips: Config of a data set whose items have `frames` and `masks`, or `tracks`, e.g.
            `PhotographicClips`.
        length: Number of items.
        kept: Clips in memory, about 2 MB each at 224 pixels.
        repeats: Items drawn from each clip, on average.
        most: Examples of a clip that are kept, at random if it has more.
        merged: Share of clips whose objects are propagated as one.
        seed: Seed of the choices.

    Raises:
        DatasetError: If a number is not positive.

    Example:
        >>> clips = dict(type="WorldClips", length=8, size=(32, 48), num_frames=3)
        >>> RefinerExamples(clips, length=4, kept=2)[0]["maps"].shape
        torch.Size([12, 16, 24])
    """

    def __init__(
        self,
        clips: Mapping[str, Any],
        length: int = 1_000_000,
        kept: int = 256,
        repeats: int = 80,
        most: int = 6,
        merged: float = 0.5,
        seed: int = 0,
    ) -> None:
        if min(length, kept, repeats, most) < 1:
            raise DatasetError(
                "Expected length, kept, repeats and most of 1 or more, got "
                f"{(length, kept, repeats, most)}. Correct them in the config."
            )
        self.clips = build(DATASETS, clips, verb="__getitem__")
        self.length, self.kept, self.repeats = length, kept, repeats
        self.most, self.merged, self.seed = most, merged, seed
        self._numbers = [-1] * kept
        self._examples: list[_Examples] = [()] * kept

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < self.length:
            raise IndexError(f"Expected an index below {self.length}, got {index}.")
        rng = np.random.default_rng([self.seed, index, 1])
        for _ in range(100):
            slot = int(rng.integers(self.kept))
            # Clips are replaced one after the other: from one item to the next most stay.
            turn = (index + slot * self.repeats) // (self.kept * self.repeats)
            examples = self._of_clip(turn * self.kept + slot)
            if examples:
                which = int(rng.integers(len(examples[0])))
                odds, maps, truth = (part[which].float() for part in examples)
                return dict(odds=odds, maps=maps, truth=truth)
        raise DatasetError(
            "Expected clips whose first frame has an object, got 100 without. Check their masks."
        )

    def _of_clip(self, number: int) -> _Examples:
        slot = number % self.kept
        if self._numbers[slot] != number:
            self._examples[slot] = self._recorded(number)
            self._numbers[slot] = number
        return self._examples[slot]

    def _recorded(self, number: int) -> _Examples:
        """Return the examples of a clip in half precision; nothing if it shows no object."""
        clip = self.clips[number % len(self.clips)]
        rng = np.random.default_rng([self.seed, number, 2])
        masks = clip.get("tracks", clip["masks"])
        if rng.random() < self.merged:
            masks = (masks > 0).long()
        if not bool(masks[0].any()):
            return ()
        examples = recorded_cues(as_rgb(clip["frames"]), masks)
        chosen = torch.from_numpy(rng.permutation(len(examples[0]))[: self.most])
        return tuple(part[chosen].half() for part in examples)


class _CueRecorder(RefinedPropagator):
    """Corrects nothing, and keeps log-odds and cues of every frame."""

    def __init__(self) -> None:
        super().__init__(MaskRefiner((1, 1)))
        self.frames: list[tuple[Tensor, Tensor]] = []

    def correction(self, odds: Tensor, maps: Tensor) -> Tensor:
        small = F.interpolate(odds[:, None], maps.shape[-2:], mode="area")
        self.frames.append((small, maps))
        return torch.zeros_like(odds)


def recorded_cues(frames: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Propagate a clip without weights and return what the network learns from.

    Args:
        frames: `[T, 3, H, W]` RGB in [0, 1].
        masks: `[T, H, W]` object ids, 1 to n in the first frame.

    Returns:
        Of N = (T - 1) n frames and objects: log-odds `[N, 1, h, w]`, maps `[N, 12, h, w]` of
        `cue_maps`, and the true share of the object in each pixel, `[N, 1, h, w]`.

    Example:
        >>> masks = torch.ones(3, 24, 32).long()
        >>> [list(x.shape) for x in recorded_cues(torch.rand(3, 3, 24, 32), masks)]
        [[2, 1, 12, 16], [2, 12, 12, 16], [2, 1, 12, 16]]
    """
    recorder = _CueRecorder()
    frames, masks = frames.cpu(), masks.cpu()
    memory = recorder.start(frames[:1], None, masks[:1])
    for frame in frames[1:]:
        recorder.step(memory, frame[None], None)
    ids = torch.arange(1, 1 + int(masks[0].max()))
    of_objects = (masks[1:, None] == ids[:, None, None]).flatten(0, 1)[:, None].float()
    odds, maps = (torch.cat(parts) for parts in zip(*recorder.frames, strict=True))
    return odds, maps, F.interpolate(of_objects, maps.shape[-2:], mode="area")
