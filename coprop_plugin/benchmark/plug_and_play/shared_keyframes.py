"""Keyframes of a clip that several rows of the table want: asked for once, billed to each."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from coprop_plugin.benchmark.plug_and_play.cost import Cost, Made, measured
from coprop_plugin.layers.eval_mode import evaluating
from coprop_plugin.types import Clip, KeyframeBackend

_SURE = 10.0


class SharedKeyframes:
    """A backend for one clip that asks another one about each frame once.

    A frame that listens to another time (see `Clip.heard_at`) is another frame.

    Args:
        backend: The one to ask.
    """

    def __init__(self, backend: KeyframeBackend) -> None:
        self.backend, self.num_classes = backend, backend.num_classes
        self._known: dict[tuple[int, float], tuple[Tensor, Cost]] = {}
        self._paid = self._owed = Cost()

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Return the backend's logits `[K, C, H, W]`."""
        keys = [(index, float(clip.listening_times[index])) for index in indices]
        new = [key for key in keys if key not in self._known]
        if new:
            logits, cost = measured(lambda: self._ask(clip, [index for index, _ in new]))
            share = cost.shared_by(len(new))
            self._known |= {key: (row, share) for key, row in zip(new, logits, strict=True)}
            self._paid += cost
        self._owed = sum((self._known[key][1] for key in keys), self._owed)
        return torch.stack([self._known[key][0] for key in keys])

    def billed(self, work: Callable[[], Made]) -> tuple[Made, Cost]:
        """Do some work that asks for keyframes; its cost is as if none had been known."""
        self._paid = self._owed = Cost()
        made, cost = measured(work)
        return made, cost.without(self._paid) + self._owed

    def _ask(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        with torch.no_grad(), evaluating(self.backend):
            return self.backend.segment_keyframes(clip, indices)


class TrueKeyframes:
    """A backend for one clip that knows its true masks.

    Args:
        masks: `[T, H, W]` int64 class numbers, 0 the silent background.
        num_classes: C; 1 takes every class for "sounds".

    Example:
        >>> backend = TrueKeyframes(torch.tensor([[[0, 2]]]), num_classes=3)
        >>> backend.segment_keyframes(None, [0]).argmax(1).tolist()
        [[[0, 2]]]
    """

    def __init__(self, masks: Tensor, num_classes: int) -> None:
        self.masks, self.num_classes = masks, num_classes

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Return logits `[K, C, H, W]` of +-10."""
        masks = self.masks[list(indices), None]
        if self.num_classes == 1:
            return torch.where(masks > 0, _SURE, -_SURE)
        classes = torch.arange(self.num_classes)[None, :, None, None]
        return torch.where(masks == classes, _SURE, -_SURE)
