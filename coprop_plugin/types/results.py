"""Results: the masks of a clip, and how they were made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.types.clip import Clip
from coprop_plugin.types.control_points import ControlPoints

ABSENT_LOGIT = -20.0
"""The logit of a class that is known to be absent: a probability of 2e-9."""


MaskKind = Literal["predicted", "carried", "combined", "silent", "given"]
"""How a frame's mask was made: see `MaskOrigin`."""


@dataclass(frozen=True)
class MaskOrigin:
    """How a frame's mask was made.

    Args:
        kind: `"predicted"`: it is the wrapped model's own; `"carried"`: propagated from a keyframe;
            `"combined"`: of several keyframes; `"silent"`: empty, as nothing sounds; `"given"`:
            painted by hand.
        keyframes: The frames whose predictions it is made of.
        why: Why so, in a few words.
        found: What the model says of this frame besides its mask, in JSON types: names, boxes.
    """

    kind: MaskKind
    keyframes: tuple[int, ...] = ()
    why: str = ""
    found: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON types, as in `result.json`."""
        content = {"mask": self.kind, "keyframes": list(self.keyframes), "why": self.why}
        return {**content, **self.found}


@dataclass(frozen=True, eq=False)
class FrameResult:
    """The mask of one frame, as `stream()` yields it.

    Only the classes present in the frame's segment are stored, so that 71-class results stay small.

    Args:
        index: Frame index in the clip.
        time_s: When the frame is shown, in seconds.
        mask: `[H, W]` uint8, 0 where no object sounds.
        class_ids: The classes whose probabilities are stored, rising; `(1,)` for binary models.
        class_probs: `[len(class_ids), H, W]` float32 in [0, 1].
        num_classes: C of the wrapped model: 1 for binary models, 71 for AVSS.
        is_keyframe: Whether the wrapped model was run on this frame, and its prediction trusted.
        class_names: The names of the classes, if the wrapped model has them: the background's
            first, two for binary models.
        origin: How the mask was made; None if unknown.

    Example:
        >>> mask = torch.tensor([[0, 3]], dtype=torch.uint8)
        >>> kept = torch.tensor([[[0.9, 0.2]], [[0.1, 0.8]]])
        >>> frame = FrameResult(0, 0.0, mask, (0, 3), kept, num_classes=71, is_keyframe=True)
        >>> frame.probs.shape, [round(p, 2) for p in frame.sounding_prob[0].tolist()]
        (torch.Size([71, 1, 2]), [0.1, 0.8])
    """

    index: int
    time_s: float
    mask: Tensor
    class_ids: tuple[int, ...]
    class_probs: Tensor
    num_classes: int
    is_keyframe: bool
    class_names: tuple[str, ...] | None = None
    origin: MaskOrigin | None = None

    @property
    def probs(self) -> Tensor:
        """Soft masks `[C, H, W]` float32: sigmoid for binary models, else one channel a class."""
        if self.num_classes == 1 and self.class_ids:
            return self.class_probs
        probs = torch.zeros(self.num_classes, *self.mask.shape, dtype=torch.float32)
        probs[list(self.class_ids)] = self.class_probs
        return probs

    @property
    def sounding_prob(self) -> Tensor:
        """Probability that a pixel sounds, over all classes: `[H, W]` float32 in [0, 1]."""
        rows = [row for row, class_id in enumerate(self.class_ids) if class_id != 0]
        if len(rows) == 1:
            # A tenth of the time of a sum over so short an axis.
            return self.class_probs[rows[0]].clamp(0, 1)
        return self.class_probs[rows].sum(0).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """The masks of a clip, its control points, and each frame's result.

    Attributes:
        clip: The clip that was segmented.
        control_points: Where the set of sounding objects changes.
        frame_results: One a frame, in order.

    Example:
        >>> from coprop_plugin import wrap
        >>> segmenter = lambda frames, audio: frames[:, :1] - 0.5
        >>> model = wrap(segmenter, backend="callable", control_points="every_n")
        >>> result = model.segment((torch.rand(5, 3, 8, 8), torch.rand(80_000) - 0.5, 16_000))
        >>> result.masks.shape, result.probs.shape
        (torch.Size([5, 8, 8]), torch.Size([5, 1, 8, 8]))
    """

    clip: Clip
    control_points: ControlPoints
    frame_results: Sequence[FrameResult]

    @cached_property
    def masks(self) -> Tensor:
        """`[T, H, W]` int64: 0 where nothing sounds, else 1 or the class index."""
        return torch.stack([frame.mask for frame in self.frame_results]).long()

    @cached_property
    def probs(self) -> Tensor:
        """`[T, C, H, W]` float32, soft; C = 1 (sigmoid) for binary models."""
        return torch.stack([frame.probs for frame in self.frame_results])

    @property
    def sounding_probs(self) -> Tensor:
        """Probability that a pixel sounds, over all classes: `[T, H, W]` float32 in [0, 1]."""
        return torch.stack([frame.sounding_prob for frame in self.frame_results])

    @property
    def times(self) -> np.ndarray:
        """`[T]` float64: presentation time of each frame in seconds."""
        return self.clip.times.numpy()

    def save(self, folder: str | Path, *, overlay: bool = True, alpha: bool = False) -> Path:
        """Write the masks, the probabilities, the control points and an overlay video.

        `masks/%05d.png` hold class indices, `probs/%05d.png` the probability that a pixel sounds
        (0..255), `control_points.json` can be edited and read back, `overlay.mp4` is the source
        with its own audio and the masks painted in. Everything is written under a temporary name
        first, so that a folder with the final name is complete; a folder that an earlier `save`
        wrote is replaced.

        Args:
            folder: Where to write. A folder that holds other files is refused.
            overlay: Whether to write `overlay.mp4`.
            alpha: Whether to write `alpha/%05d.png` too: the frames with the mask as alpha.

        Returns:
            The folder.

        Raises:
            MediaError: If the folder cannot be written, or holds other files.
        """
        from coprop_plugin import media

        return media.save_result(self, folder, overlay=overlay, alpha=alpha)

    def to_supervision(self) -> list[Any]:
        """Return the masks as `supervision.Detections`, one a frame, for its annotators and tools.

        A detection is a class present in the frame: its mask, its box, `confidence` (the mean
        probability inside), and under `data` its `class_name`.

        Raises:
            MissingExtraError: If supervision is not installed; the message has the pip line.
        """
        from coprop_plugin import media

        return media.to_supervision(self)
