"""From keyframe logits of a wrapped model to the logits of every frame, segment by segment."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from coprop_plugin.errors import PropagationError
from coprop_plugin.layers.eval_mode import device_of
from coprop_plugin.limits import OBJECTS
from coprop_plugin.types import Clip, FrameResult, Propagator

# Log-odds of what is certainly not there: a probability of 2e-9, and safe in half precision.
ABSENT = -20.0


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
    def of_keyframe(cls, logits: Tensor) -> "MaskLogits":
        """Keep of a wrapped model's logits `[C, H, W]` the background and what prevails.

        Raises:
            PropagationError: If there are more classes than masks can hold.
        """
        if len(logits) == 1:
            return cls((1,), logits, 1)
        if len(logits) > OBJECTS + 1:
            raise PropagationError(
                f"Got logits of {len(logits)} classes; masks hold 8 bits a pixel, the background "
                f"and up to {OBJECTS} classes. Keep those that can sound."
            )
        kept = (0, *(c for c in hard_mask(logits).unique().tolist() if c != 0))
        return cls(kept, logits[list(kept)], len(logits))

    @property
    def mask(self) -> Tensor:
        """`[H, W]` uint8: 0 the silent background, else 1 or the class index."""
        if not self.class_ids:
            return torch.zeros(self.logits.shape[-2:], dtype=torch.uint8)
        if self.num_classes == 1:
            return (self.logits[0] > 0).to("cpu", torch.uint8)
        ids = torch.tensor(self.class_ids, dtype=torch.uint8, device=self.logits.device)
        if len(ids) == 2:
            # A fiftieth of the time of argmax over so short an axis.
            return torch.where(self.logits[1] > self.logits[0], ids[1], ids[0]).cpu()
        return ids[self.logits.argmax(0)].cpu()

    @property
    def probs(self) -> Tensor:
        """`[len(class_ids), H, W]` float32 on the CPU."""
        logits = self.logits.float()
        return (logits.sigmoid() if self.num_classes == 1 else logits.softmax(0)).cpu()

    def all_classes(self) -> Tensor:
        """Logits of every class, `[C, H, W]`; those that the segment does not hold are `ABSENT`."""
        if self.num_classes == 1 and self.class_ids:
            return self.logits
        height, width = self.logits.shape[-2:]
        dense = self.logits.new_full((self.num_classes, height, width), ABSENT)
        if self.class_ids:
            # log_softmax keeps some present class above ABSENT in every pixel.
            dense[list(self.class_ids)] = self.logits.log_softmax(0)
        elif self.num_classes > 1:
            dense[0] = 0
        return dense

    def result(
        self,
        index: int,
        time_s: float,
        is_keyframe: bool,
        class_names: tuple[str, ...] | None = None,
    ) -> FrameResult:
        """Return this frame as a caller gets it."""
        return FrameResult(
            index=index,
            time_s=time_s,
            mask=self.mask,
            class_ids=self.class_ids,
            class_probs=self.probs,
            num_classes=self.num_classes,
            is_keyframe=is_keyframe,
            class_names=class_names,
        )


def hard_mask(logits: Tensor) -> Tensor:
    """Return what prevails in each pixel of logits `[C, H, W]`: `[H, W]` int64."""
    return (logits[0] > 0).long() if len(logits) == 1 else logits.argmax(0)


class Carrier:
    """Carries the masks of one video: begins at each control point, then goes frame by frame.

    Eq. (3). Classes become object ids inside a segment and are mapped back: object n is the n-th
    class present in the keyframe. A segment whose keyframe is empty stays empty, and the
    propagator is not asked.

    Args:
        propagator: What carries masks of objects.
        num_classes: C of the wrapped model.
    """

    def __init__(self, propagator: Propagator, num_classes: int) -> None:
        self.propagator = propagator
        self.num_classes = num_classes
        self._memory: Any = None
        self._ahead = 0
        self.class_ids: tuple[int, ...] = ()

    def hear(self, clip: Clip) -> Tensor | None:
        """Return what the propagator makes of the clip's sound, one row a frame."""
        return self.propagator.hear(clip)

    def begin(self, clip: Clip, t: int, sound: Tensor | None, logits: Tensor) -> MaskLogits:
        """Begin a segment at frame t of `clip` with the wrapped model's logits `[C, H, W]`."""
        objects, self._memory, self._ahead = self.number_objects(logits), None, 0
        if self.class_ids:
            frame, sound = self._inputs(clip, [t], sound)
            self._memory = self.propagator.start(frame, sound, objects[None].to(frame.device))
        return MaskLogits.of_keyframe(logits)

    def rest(self, clip: Clip) -> MaskLogits:
        """Begin a segment in which nothing sounds."""
        self._memory, self.class_ids = None, ()
        return self._nothing(clip)

    @property
    def is_carrying(self) -> bool:
        """Whether anything sounds in this segment."""
        return self._memory is not None

    def advance(
        self, clip: Clip, t: int, sound: Tensor | None, coming: Sequence[int] = ()
    ) -> MaskLogits:
        """Carry the masks of the frame before to frame t of `clip`.

        Args:
            clip: The clip.
            t: Index in it.
            sound: What is heard of the clip, one row a frame, or None.
            coming: What follows t in this segment, as far as it is known: a propagator with
                `encode_ahead` encodes so many frames at once.
        """
        if self._memory is None:
            return self._nothing(clip)
        if not self._ahead:
            self._look_ahead(clip, t, sound, coming)
        self._ahead -= 1
        frame, sound = self._inputs(clip, [t], sound)
        return self.answer(self.propagator.step(self._memory, frame, sound)[0])

    def number_objects(self, logits: Tensor) -> Tensor:
        """Turn the classes of a keyframe's logits [C, H, W] into object ids [H, W] from 1."""
        mask = hard_mask(logits)
        self.class_ids = tuple(c for c in mask.unique().tolist() if c != 0)
        objects = torch.zeros_like(mask)
        for object_id, class_id in enumerate(self.class_ids, start=1):
            objects[mask == class_id] = object_id
        return objects

    def answer(self, logits: Tensor) -> MaskLogits:
        """Give the propagator's logits [1 + n, H, W] their classes back."""
        if self.num_classes == 1:
            return MaskLogits((1,), logits[1:2] - logits[:1], 1)
        return MaskLogits((0, *self.class_ids), logits, self.num_classes)

    def _nothing(self, clip: Clip) -> MaskLogits:
        return MaskLogits((), torch.zeros(0, *clip.size), self.num_classes)

    def _look_ahead(self, clip: Clip, t: int, sound: Tensor | None, coming: Sequence[int]) -> None:
        frames = [t, *islice(coming, getattr(self.propagator, "encode_ahead", 1) - 1)]
        self._ahead = len(frames)
        if len(frames) > 1:
            pictures, sound = self._inputs(clip, frames, sound)
            sound = None if sound is None else sound[:, None]
            self.propagator.look_ahead(self._memory, pictures[:, None], sound)

    def _inputs(
        self, clip: Clip, frames: Sequence[int], sound: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        device, frames = device_of(self.propagator), list(frames)
        return clip.rgb(frames).to(device), None if sound is None else sound[frames].to(device)


def agreement(one: Tensor, other: Tensor) -> float:
    """Return how well two masks `[H, W]` agree, in 0..1.

    Of the pixels that are something in either, the share that is the same in both: intersection
    over union, in which a pixel of two classes counts against. 1 where both are empty.

    Example:
        >>> import torch
        >>> agreement(torch.tensor([[0, 1, 2]]), torch.tensor([[0, 1, 1]]))
        0.5
    """
    either = (one > 0) | (other > 0)
    return float((one == other)[either].float().mean()) if bool(either.any()) else 1.0


def sureness(masks: MaskLogits, mask: Tensor | None = None) -> float:
    """Return how sure a mask is of itself, in 0..1: the overlap that its probabilities promise.

    Were each pixel's probability right, the mask and the truth would share `sum of p inside` and
    cover `pixels inside + sum of p outside`; their ratio falls with the entropy of what is
    neither inside nor outside, and edges count for little. Of an empty mask, how sure the pixel
    is that is most in doubt.

    Args:
        masks: Of one frame.
        mask: `masks.mask`, if it is known already.

    Example:
        >>> import torch
        >>> sureness(MaskLogits((1,), torch.tensor([[[-9.0, 9.0, 0.1]]]), 1)) < 0.8
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
