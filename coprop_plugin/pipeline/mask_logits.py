"""Logits of one frame, of the classes that its segment holds; how confident and alike masks are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from coprop_plugin.errors import PropagationError
from coprop_plugin.layers import to_device
from coprop_plugin.limits import OBJECTS
from coprop_plugin.types import ABSENT_LOGIT, FrameResult, MaskOrigin

_LEAST_PROB = 1e-5


@dataclass(frozen=True, eq=False)
class MaskLogits:
    """The logits of one frame, only of the classes that its segment holds.

    Args:
        class_ids: Rising; `(1,)` for binary models, 0 and the present classes for others, `()`
            where nothing sounds.
        logits: `[len(class_ids), H, W]`.
        num_classes: C of the wrapped model.
    """

    class_ids: tuple[int, ...]
    logits: Tensor
    num_classes: int

    @classmethod
    def of_keyframe(cls, logits: Tensor, device: torch.device | None = None) -> "MaskLogits":
        """Keep of a wrapped model's logits `[C, H, W]` the background and the classes present.

        Args:
            logits: On the model's device.
            device: Where they are propagated, and so moved to; None leaves them where they are.

        Raises:
            PropagationError: If there are more classes than masks can hold.
        """
        device = device or logits.device
        if len(logits) == 1:
            return cls((1,), to_device(logits, device), 1)
        if len(logits) > OBJECTS + 1:
            raise PropagationError(
                f"Expected logits of at most {OBJECTS + 1} classes (masks hold 8 bits a pixel), "
                f"got {len(logits)}. Keep the classes that can sound."
            )
        kept = (0, *classes_in(hard_mask(logits)))
        return cls(kept, to_device(logits[list(kept)], device), len(logits))

    @cached_property
    def mask(self) -> Tensor:
        """`[H, W]` uint8: 0 the silent background, else 1 or the class index."""
        if not self.class_ids:
            return torch.zeros(self.logits.shape[-2:], dtype=torch.uint8)
        if self.num_classes == 1:
            return (self.logits[0] > 0).view(torch.uint8)
        ids = to_device(torch.tensor(self.class_ids, dtype=torch.uint8), self.logits.device)
        return ids[self.logits.max(0).indices]

    @cached_property
    def present(self) -> tuple[int, ...]:
        """The classes that the mask holds, but for the background, rising."""
        return tuple(classes_in(self.mask))

    @property
    def probs(self) -> Tensor:
        """`[len(class_ids), H, W]` float32."""
        logits = self.logits.float()
        return logits.sigmoid() if self.num_classes == 1 else logits.softmax(0)

    def all_classes(self) -> Tensor:
        """Logits of every class, `[C, H, W]`; `ABSENT_LOGIT` for those not in the segment."""
        if self.num_classes == 1 and self.class_ids:
            return self.logits
        height, width = self.logits.shape[-2:]
        dense = self.logits.new_full((self.num_classes, height, width), ABSENT_LOGIT)
        if self.class_ids:
            # log_softmax keeps some present class above it in every pixel.
            ids = to_device(torch.tensor(self.class_ids), dense.device)
            dense.index_copy_(0, ids, self.logits.log_softmax(0))
        elif self.num_classes > 1:
            dense[0] = 0
        return dense

    def result(
        self,
        index: int,
        time_s: float,
        is_keyframe: bool,
        class_names: tuple[str, ...] | None = None,
        origin: MaskOrigin | None = None,
    ) -> FrameResult:
        """Return this frame's result, on the device of its logits."""
        return FrameResult(
            index=index,
            time_s=time_s,
            mask=self.mask,
            class_ids=self.class_ids,
            class_probs=self.probs,
            num_classes=self.num_classes,
            is_keyframe=is_keyframe,
            class_names=class_names,
            origin=origin,
        )


def combined(masks: Sequence[MaskLogits], weights: Sequence[float]) -> MaskLogits:
    """Return the weighted mean of the probabilities of one frame's masks, as logits.

    Args:
        masks: Of one frame; classes that are not among them are absent.
        weights: One for each, above 0.

    Returns:
        The masks themselves if there is one; else their mean, probabilities kept 1e-5 from 0 and 1.

    Example:
        >>> import torch
        >>> masks = [MaskLogits((1,), torch.tensor([[[x]]]), 1) for x in (2.0, -1.0)]
        >>> [int(combined(masks, weights).mask) for weights in ((1.0, 1.0), (1.0, 3.0))]
        [1, 0]
    """
    first = next((m for m in masks if m.class_ids), masks[0])
    class_ids = sorted({0, *(c for m in masks for c in m.class_ids)})
    if first.num_classes == 1:
        class_ids = [1]
    if len(masks) == 1 or not first.class_ids:
        return first
    probs = first.logits.new_zeros(len(class_ids), *first.logits.shape[-2:], dtype=torch.float32)
    for mask, weight in zip(masks, weights, strict=True):
        share = weight / sum(weights)
        if mask.class_ids:
            rows = [class_ids.index(c) for c in mask.class_ids]
            # Row by row: an index by a list would copy all rows, twice.
            for row, plane in zip(rows, mask.probs.mul_(share).to(probs.device), strict=True):
                probs[row] += plane
        elif first.num_classes > 1:
            probs[0] += share
    probs = probs.clamp_(_LEAST_PROB, 1 - _LEAST_PROB)
    logits = probs.logit_() if first.num_classes == 1 else probs.log_()
    return MaskLogits(tuple(class_ids), logits, first.num_classes)


def hard_mask(logits: Tensor) -> Tensor:
    """Return the most likely class of each pixel of logits `[C, H, W]`: `[H, W]` int64."""
    # The indices of `max` are those of `argmax`, in a ninth of its time.
    return (logits[0] > 0).long() if len(logits) == 1 else logits.max(0).indices


def classes_in(mask: Tensor) -> list[int]:
    """Return the classes of a mask of integers from 0, but for 0, rising.

    Example:
        >>> classes_in(torch.tensor([[0, 3], [1, 3]]))
        [1, 3]
    """
    # A twentieth of the time of `unique`, which sorts.
    return mask.flatten().bincount()[1:].nonzero().add(1).flatten().tolist()


def agreement(one: Tensor, other: Tensor) -> float:
    """Return the IoU of two masks `[H, W]`, in 0..1.

    A pixel of two different classes counts against it. 1 where both masks are empty.

    Example:
        >>> import torch
        >>> agreement(torch.tensor([[0, 1, 2]]), torch.tensor([[0, 1, 1]]))
        0.5
    """
    either = (one > 0) | (other > 0)
    return float((one == other)[either].float().mean()) if bool(either.any()) else 1.0


def confidence(masks: MaskLogits, mask: Tensor | None = None) -> float:
    """Return the expected IoU of a soft mask with the truth, in 0..1.

    If each pixel's probability p is right, mask and truth share `sum of p inside` and cover
    `pixels inside + sum of p outside`. Of an empty mask, 1 - p of its most doubtful pixel.

    Args:
        masks: Of one frame.
        mask: `masks.mask`, if it is known already.

    Example:
        >>> import torch
        >>> confidence(MaskLogits((1,), torch.tensor([[[-9.0, 9.0, 0.1]]]), 1)) < 0.8
        True
    """
    if masks.class_ids in ((), (0,)):
        return 1.0
    logits = masks.logits.float()
    probs = logits[0].sigmoid() if masks.num_classes == 1 else 1 - logits.softmax(0)[0]
    inside = (masks.mask if mask is None else mask).to(probs.device) > 0
    shared, pixels = (probs * inside).sum(), inside.sum()
    if not pixels:
        return float(1 - probs.max())
    return float(shared / (pixels + probs.sum() - shared))
