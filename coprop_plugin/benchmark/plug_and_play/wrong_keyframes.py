"""A model some of whose predictions are wrong, to measure recovery from wrong keyframes."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.errors import DatasetError
from coprop_plugin.pipeline.mask_logits import hard_mask
from coprop_plugin.types import ABSENT_LOGIT, Clip, KeyframeBackend

KINDS = ("empty", "moved", "other", "blobs")
"""Kinds of wrong masks, all equally likely: no object, the mask moved by a third of the image, a
visible object that does not sound, and up to three ellipses."""

SilentObjects = Callable[[float], Sequence[Tensor]]
"""From a time in seconds to masks `[H, W]` of class ids, one for each visible object that does not
sound then."""


class WrongKeyframes:
    """A backend for one clip that replaces a share of another one's predictions by wrong masks.

    Wrong masks have full confidence, so that confidence does not reveal them. Which frames are
    wrong, and how, depends on the seed and the time of the frame alone, not on which other frames
    the model is run on.

    Args:
        backend: The backend that predicts.
        share: Probability that a prediction is replaced, 0..1.
        seed: Decides which ones are, and by what.
        silent_objects: The objects that wrong masks may show; None if they are not known. Without
            any, blobs take their place.

    Raises:
        DatasetError: If `share` is not in 0..1.

    Example:
        >>> class Nothing:
        ...     num_classes = 1
        ...     def segment_keyframes(self, clip, indices):
        ...         return torch.full((len(indices), 1, *clip.size), -9.0)
        >>> clip = Clip(torch.rand(40, 3, 16, 16), torch.zeros(640_000))
        >>> masks = WrongKeyframes(Nothing(), 0.5, seed=1).segment_keyframes(clip, range(40)) > 0
        >>> 5 < int(masks.flatten(1).any(1).sum()) < 20  # some wrong masks are empty, too
        True
    """

    def __init__(
        self,
        backend: KeyframeBackend,
        share: float,
        seed: int = 0,
        silent_objects: SilentObjects | None = None,
    ) -> None:
        self.backend, self.num_classes = backend, backend.num_classes
        self.share, self.seed, self.silent_objects = checked_share(share), seed, silent_objects

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Return logits `[K, C, H, W]`, some of them wrong."""
        rows = self.backend.segment_keyframes(clip, indices)
        times = clip.times[list(indices)].tolist()
        return torch.stack([self._logits(*pair) for pair in zip(rows, times, strict=True)])

    def _logits(self, logits: Tensor, time_s: float) -> Tensor:
        rng = np.random.default_rng([self.seed, round(time_s * 1000)])
        if rng.random() >= self.share:
            return logits
        mask = self._wrong_mask(hard_mask(logits).cpu(), str(rng.choice(KINDS)), time_s, rng)
        classes = torch.arange(max(2, self.num_classes))[:, None, None]
        present = (mask[None] == classes).to(logits.device)
        wrong = torch.where(present, -ABSENT_LOGIT, ABSENT_LOGIT).to(logits.dtype)
        return wrong[1:] if self.num_classes == 1 else wrong

    def _wrong_mask(
        self, mask: Tensor, kind: str, time_s: float, rng: np.random.Generator
    ) -> Tensor:
        """Return another mask `[H, W]` of class ids than the given one."""
        if kind == "empty":
            return torch.zeros_like(mask)
        if kind == "moved" and bool(mask.any()):
            down, right = (int(side / 3 * rng.choice([-1, 1])) for side in mask.shape)
            return mask.roll((down, right), (0, 1))
        others = self.silent_objects(time_s) if kind == "other" and self.silent_objects else []
        if others:
            other = others[int(rng.integers(len(others)))].long()
            return other.clamp(max=max(1, self.num_classes - 1))
        return self._blobs(torch.zeros_like(mask), rng)

    def _blobs(self, mask: Tensor, rng: np.random.Generator) -> Tensor:
        """Paint one to three ellipses, each of a class of its own, into a mask `[H, W]`."""
        height, width = mask.shape
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        for _ in range(int(rng.integers(1, 4))):
            centre_y, centre_x = rng.random() * height, rng.random() * width
            tall, wide = (float(rng.uniform(0.05, 0.25)) * side for side in (height, width))
            blob = ((y - centre_y) / tall) ** 2 + ((x - centre_x) / wide) ** 2 < 1
            mask[blob] = int(rng.integers(1, max(2, self.num_classes)))
        return mask


def checked_share(share: float) -> float:
    """Return a share of predictions.

    Raises:
        DatasetError: If it is not in 0..1.
    """
    if not 0 <= share <= 1:
        raise DatasetError(
            f"Expected the share of wrong predictions to be in 0..1, got {share!r}. Give 30 % as "
            "0.3."
        )
    return share


def wrong_name(backend: str, share: float) -> str:
    """Return the name of a backend some of whose predictions are wrong, for tables.

    Example:
        >>> wrong_name("tpavi", 0.3), wrong_name("tpavi", 0)
        ('tpavi, 30 % wrong', 'tpavi')
    """
    return f"{backend}, {100 * share:.3g} % wrong" if share else backend
