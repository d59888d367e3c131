"""Propagators without weights, as baselines: hold the mask, or follow optical flow."""

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from coprop_plugin.propagation.geometry import check_keyframe, check_next_frame, one_hot
from coprop_plugin.propagation.optical_flow import (
    FlowPreset,
    RecentFlows,
    gray,
    pixel_positions,
    sample,
)
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip

LEAST_PROB = 1e-5
"""Distance of probabilities from 0 and 1, so that their logarithm is finite."""


def as_logits(probs: Tensor) -> Tensor:
    """Return logits whose softmax over axis 1 is `probs` (kept 1e-5 from 0 and 1)."""
    return probs.clamp(LEAST_PROB, 1 - LEAST_PROB).log()


@MODELS.register_module(name=["HoldPropagator", "hold"])
class HoldPropagator:
    """Holds the keyframe's mask: the baseline of every propagator.

    Example:
        >>> import torch
        >>> hold = HoldPropagator()
        >>> masks = torch.tensor([[[0, 1], [0, 0]]])
        >>> memory = hold.start(torch.zeros(1, 3, 2, 2), None, masks)
        >>> hold.step(memory, torch.ones(1, 3, 2, 2), None).argmax(1).tolist()
        [[[0, 1], [0, 0]]]
    """

    takes_uint8 = True

    def hear(self, clip: Clip) -> None:
        """Return None: the audio is not used."""
        return None

    def start(self, frame: Tensor, sound: Tensor | None, masks: Tensor) -> Tensor:
        """Begin a segment; the memory is the result of every step.

        Raises:
            PropagationError: If frame and masks do not fit each other.
        """
        check_keyframe(frame, masks)
        return as_logits(one_hot(masks, int(masks.max())))

    def step(self, memory: Tensor, frame: Tensor, sound: Tensor | None) -> Tensor:
        """Return the keyframe's masks as logits `[B, 1 + n, H, W]`.

        Raises:
            PropagationError: If the frame is not of the keyframe's size.
        """
        check_next_frame(frame, memory.shape)
        return memory

    def first(self, memory: Tensor, count: int) -> Tensor:
        """Return the memory of the first `count` segments of a batch."""
        return memory[:count]


@dataclass
class FlowMemory:
    """Memory of a segment of `FlowPropagator`.

    Args:
        probs: `[B, 1 + n, H, W]`, the keyframe's masks.
        origins: `[B, 2, H, W]`, the position in the keyframe of each pixel of the last frame: x
            and y in pixels.
        grays: The last frames, uint8 `[H, W]` arrays.
    """

    probs: Tensor
    origins: Tensor
    grays: list[np.ndarray]


@MODELS.register_module(name=["FlowPropagator", "flow"])
class FlowPropagator:
    """Moves the mask by dense optical flow (DIS, Kroeger et al., arXiv:1603.03590v1).

    The backward flows from frame to frame are composed, so that the keyframe's mask is sampled
    once, however long the segment: warping the last mask repeatedly would blur it. Objects that
    leave the frame or are covered do not come back.

    Args:
        preset: OpenCV's speed setting: `"ultrafast"`, `"fast"` or `"medium"`.

    Raises:
        MissingExtraError: At `start`, if OpenCV is not installed.

    Example:
        >>> import torch
        >>> flow = FlowPropagator()
        >>> frame, masks = torch.rand(1, 3, 32, 32), torch.ones(1, 32, 32).long()
        >>> memory = flow.start(frame, None, masks)
        >>> flow.step(memory, frame, None).shape
        torch.Size([1, 2, 32, 32])
    """

    def __init__(self, preset: FlowPreset = "medium") -> None:
        self.preset, self._flows = preset, RecentFlows(preset)

    takes_uint8 = True

    def hear(self, clip: Clip) -> None:
        """Return None: the audio is not used."""
        return None

    def start(self, frame: Tensor, sound: Tensor | None, masks: Tensor) -> FlowMemory:
        """Begin a segment with object ids `masks` [B, H, W].

        Raises:
            PropagationError: If frame and masks do not fit each other.
        """
        check_keyframe(frame, masks)
        height, width = frame.shape[-2:]
        here = pixel_positions(height, width, frame.device)
        origins = here.expand(len(frame), -1, -1, -1)
        return FlowMemory(
            one_hot(masks, int(masks.max())), origins, [gray(picture) for picture in frame]
        )

    def step(self, memory: FlowMemory, frame: Tensor, sound: Tensor | None) -> Tensor:
        """Propagate the masks along the flow; returns logits `[B, 1 + n, H, W]`.

        Raises:
            PropagationError: If the frame is not of the keyframe's size.
        """
        check_next_frame(frame, memory.probs.shape)
        grays = [gray(picture) for picture in frame]
        backwards = torch.stack(
            [
                torch.from_numpy(self._flows.between(now, before))
                for now, before in zip(grays, memory.grays, strict=True)
            ]
        ).to(frame.device)
        height, width = frame.shape[-2:]
        here = pixel_positions(height, width, frame.device)
        before = here + rearrange(backwards, "b h w xy -> b xy h w")
        memory.origins = sample(memory.origins, before)
        memory.grays = grays
        return as_logits(sample(memory.probs, memory.origins))

    def first(self, memory: FlowMemory, count: int) -> FlowMemory:
        """Return the memory of the first `count` segments of a batch."""
        return FlowMemory(memory.probs[:count], memory.origins[:count], memory.grays[:count])
