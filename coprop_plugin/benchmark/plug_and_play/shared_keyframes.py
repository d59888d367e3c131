"""Keyframes of a clip that several rows of the table share, and what they cost each row."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from coprop_plugin.benchmark.plug_and_play.cost import Cost, Made, measured
from coprop_plugin.layers.eval_mode import evaluating
from coprop_plugin.types import Clip, KeyframeBackend

_CERTAIN = 10.0
KEPT_BYTES = 2**29
"""Most bytes of logits kept for other rows: 512 MB, 37 frames of 71 classes at 224 pixels."""

_Key = tuple[int, float, tuple[str, ...] | None]
"""A frame, the time of its audio window, and the words of its clip."""


class SharedKeyframes:
    """A backend for one clip that runs another backend on each frame once.

    A frame with its audio window at another time (see `Clip.heard_at`), or with other words, counts
    as another frame. Of a long clip only the first frames are kept; it is run again on the others.

    Args:
        backend: The backend to run.
        kept_bytes: Most bytes of logits that are kept.

    Attributes:
        num_used: How many frames the last work of `cost_alone` had segmented.
    """

    def __init__(self, backend: KeyframeBackend, kept_bytes: int = KEPT_BYTES) -> None:
        self.backend, self.num_classes = backend, backend.num_classes
        self._room = kept_bytes
        self._known: dict[_Key, tuple[Tensor, Cost]] = {}
        # Of the current work: the cost of runs of the backend, and of the keyframes it used.
        self._spent = self._used = Cost()
        self.num_used = 0

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Return the backend's logits `[K, C, H, W]`."""
        words = None if clip.words is None else tuple(clip.words)
        keys = [(index, float(clip.listening_times[index]), words) for index in indices]
        new = [key for key in keys if key not in self._known]
        found = {key: self._known[key] for key in keys if key in self._known}
        if new:
            logits, cost = measured(lambda: self._run(clip, [index for index, *_ in new]))
            share = cost.shared_by(len(new))
            found |= {key: (row, share) for key, row in zip(new, logits, strict=True)}
            if logits.nbytes <= self._room:
                self._room -= logits.nbytes
                self._known |= found
            self._spent += cost
        self.num_used += len(keys)
        self._used = sum((found[key][1] for key in keys), self._used)
        return torch.stack([found[key][0] for key in keys])

    def cost_alone(self, work: Callable[[], Made]) -> tuple[Made, Cost]:
        """Do work that uses keyframes; returns its cost as if none of them had been known."""
        self._spent = self._used = Cost()
        self.num_used = 0
        made, cost = measured(work)
        return made, cost.without(self._spent) + self._used

    def _run(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        with torch.no_grad(), evaluating(self.backend):
            return self.backend.segment_keyframes(clip, indices)


class TrueKeyframes:
    """A backend for one clip that returns its true masks.

    Args:
        masks: `[T, H, W]` int64 class numbers, 0 the silent background.
        num_classes: C; 1 counts every class as sounding.

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
            return torch.where(masks > 0, _CERTAIN, -_CERTAIN)
        classes = torch.arange(self.num_classes)[None, :, None, None]
        return torch.where(masks == classes, _CERTAIN, -_CERTAIN)
