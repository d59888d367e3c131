"""Propagators without weights: baselines to beat, and something to fall back on."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from coprop_plugin.errors import MissingExtraError
from coprop_plugin.propagation.geometry import check_keyframe, check_next_frame, one_hot
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip

LEAST_SIDE = 12
"""Pictures with a shorter side are too small for DIS: there the mask stays."""

SURE = 1e-5
"""How far from 0 and 1 probabilities stay, so that their logarithm is finite."""


def as_logits(probs: Tensor) -> Tensor:
    """Return logits whose softmax over axis 1 is `probs` (kept 1e-5 from 0 and 1)."""
    return probs.clamp(SURE, 1 - SURE).log()


@MODELS.register_module(name=["HoldPropagator", "hold"])
class HoldPropagator:
    """The keyframe's mask stays where it is: what a propagator has to beat.

    Example:
        >>> import torch
        >>> hold = HoldPropagator()
        >>> masks = torch.tensor([[[0, 1], [0, 0]]])
        >>> memory = hold.start(torch.zeros(1, 3, 2, 2), None, masks)
        >>> hold.step(memory, torch.ones(1, 3, 2, 2), None).argmax(1).tolist()
        [[[0, 1], [0, 0]]]
    """

    def hear(self, clip: Clip) -> None:
        """Hear nothing: no sound moves this mask."""
        return None

    def start(self, frame: Tensor, sound: Tensor | None, masks: Tensor) -> Tensor:
        """Begin a segment; the memory is the answer to every step.

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

    def first(self, memory: Tensor, clips: int) -> Tensor:
        """Go on with the first clips of a batch alone: return their memory."""
        return memory[:clips]


@dataclass
class FlowMemory:
    """What `FlowPropagator` knows of a segment.

    Args:
        probs: `[B, 1 + n, H, W]`, the keyframe's masks.
        origins: `[B, 2, H, W]`, where in the keyframe each pixel of the last frame came from:
            x and y in pixels.
        grays: The last frames, uint8 `[H, W]` arrays.
    """

    probs: Tensor
    origins: Tensor
    grays: list


@MODELS.register_module(name=["FlowPropagator", "flow"])
class FlowPropagator:
    """The mask is carried by dense optical flow (DIS, Kroeger et al., arXiv:1603.03590v1).

    From frame to frame the flow is followed backwards and the steps are strung together, so that
    the keyframe's mask is sampled once however long the segment: warping the last mask again and
    again would blur it away. What leaves the picture or is covered does not come back.

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

    def __init__(self, preset: str = "medium") -> None:
        self.preset = preset

    def hear(self, clip: Clip) -> None:
        """Hear nothing: only the picture moves this mask."""
        return None

    def start(self, frame: Tensor, sound: Tensor | None, masks: Tensor) -> FlowMemory:
        """Begin a segment with object ids `masks` [B, H, W].

        Raises:
            PropagationError: If frame and masks do not fit each other.
        """
        check_keyframe(frame, masks)
        here = _pixel_positions(*frame.shape[-2:], frame.device)
        origins = here.expand(len(frame), -1, -1, -1)
        return FlowMemory(
            one_hot(masks, int(masks.max())), origins, [_gray(picture) for picture in frame]
        )

    def step(self, memory: FlowMemory, frame: Tensor, sound: Tensor | None) -> Tensor:
        """Carry the masks along the flow; returns logits `[B, 1 + n, H, W]`.

        Raises:
            PropagationError: If the frame is not of the keyframe's size.
        """
        check_next_frame(frame, memory.probs.shape)
        grays = [_gray(picture) for picture in frame]
        method = _dis(self.preset)
        backwards = torch.stack(
            [
                torch.from_numpy(_flow(method, now, before))
                for now, before in zip(grays, memory.grays, strict=True)
            ]
        ).to(frame.device)
        here = _pixel_positions(*frame.shape[-2:], frame.device)
        before = here + rearrange(backwards, "b h w xy -> b xy h w")
        memory.origins = _sample(memory.origins, before)
        memory.grays = grays
        return as_logits(_sample(memory.probs, memory.origins))

    def first(self, memory: FlowMemory, clips: int) -> FlowMemory:
        """Go on with the first clips of a batch alone: return their memory."""
        return FlowMemory(memory.probs[:clips], memory.origins[:clips], memory.grays[:clips])


def _cv2():
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError(
            "FlowPropagator needs OpenCV, which is not installed. Run `pip install "
            "opencv-python-headless`, or use `propagator='hold'`."
        ) from error
    return cv2


def _dis(preset: str):
    cv2 = _cv2()
    return cv2.DISOpticalFlow_create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{preset.upper()}"))


def _flow(method, now, before):
    if min(now.shape) < LEAST_SIDE:
        return np.zeros((*now.shape, 2), np.float32)
    return method.calc(now, before, None)


def _gray(picture: Tensor):
    rgb = (picture.clamp(0, 1) * 255).round().byte()
    cv2 = _cv2()
    return cv2.cvtColor(rearrange(rgb, "c h w -> h w c").cpu().numpy(), cv2.COLOR_RGB2GRAY)


def _pixel_positions(height: int, width: int, device: torch.device) -> Tensor:
    """Return x and y of every pixel, `[1, 2, H, W]`."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    return torch.stack([x, y]).float()[None]


def _sample(planes: Tensor, positions: Tensor) -> Tensor:
    """Read planes [B, C, H, W] at pixel positions [B, 2, H, W]; the border repeats outside."""
    height, width = planes.shape[-2:]
    # grid_sample counts from -1 to 1 between the centres of the corner pixels.
    spans = torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=planes.device)
    grid = rearrange(positions, "b xy h w -> b h w xy") / spans * 2 - 1
    return F.grid_sample(planes, grid, padding_mode="border", align_corners=True)
