"""Dense optical flow (DIS, Kroeger et al., arXiv:1603.03590v1), followed backwards."""

import hashlib
from threading import Lock
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from coprop_plugin.errors import MissingExtraError

FlowPreset = Literal["ultrafast", "fast", "medium"]
"""Speed settings of OpenCV's DIS optical flow."""

LEAST_SIDE = 12
"""Frames with a shorter side are too small for DIS: there the mask is held."""

MOST_BYTES = 80_000_000
"""Of the flows that are kept: ten of 1280 x 720 pixels, which is a segment of six frames."""


def import_cv2() -> ModuleType:
    """Return OpenCV.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError(
            "Optical flow needs OpenCV, which is not installed. Run `pip install "
            "opencv-python-headless`, or use `propagator='hold'`."
        ) from error
    return cv2


class RecentFlows:
    """Flow between frames; of the last ones each is computed once.

    Where a model's predictions are compared, several of them are propagated along the same frames,
    and the flow takes most of the time. Frames are recognised by their content. Copies are empty.

    Args:
        preset: OpenCV's speed setting.
        most_bytes: Size of the flows that are kept.

    Example:
        >>> frames = torch.randint(0, 255, (2, 24, 32), dtype=torch.uint8).numpy()
        >>> flows = RecentFlows("fast")
        >>> flows.between(frames[1], frames[0]) is flows.between(frames[1], frames[0])
        True
    """

    def __init__(self, preset: FlowPreset, most_bytes: int = MOST_BYTES) -> None:
        self.preset, self.most_bytes = preset, most_bytes
        self.kept: dict[tuple[Any, ...], np.ndarray] = {}
        self._lock = Lock()

    def __reduce__(self) -> tuple[type["RecentFlows"], tuple[FlowPreset, int]]:
        return RecentFlows, (self.preset, self.most_bytes)

    def between(self, now: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Return the offset of each pixel of `now` to its place in `before`.

        Args:
            now: uint8 `[H, W]`, like `before`.
            before: The frame that the flow leads to.

        Returns:
            `[H, W, 2]`, x and y in pixels, not to be changed.

        Raises:
            MissingExtraError: If OpenCV is not installed.
        """
        if min(now.shape) < LEAST_SIDE:
            return np.zeros((*now.shape, 2), np.float32)
        key = now.shape, _digest(now), _digest(before)
        with self._lock:
            flow = self.kept.pop(key, None)
        if flow is None:
            cv2 = import_cv2()
            preset = getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{self.preset.upper()}")
            flow = cv2.DISOpticalFlow_create(preset).calc(now, before, None)
        with self._lock:
            self.kept[key] = flow
            while sum(kept.nbytes for kept in self.kept.values()) > self.most_bytes:
                self.kept.pop(next(iter(self.kept)))
        return flow


def _digest(frame: np.ndarray) -> bytes:
    return hashlib.blake2b(frame.tobytes(), digest_size=16).digest()


def gray(picture: Tensor) -> np.ndarray:
    """Turn RGB `[3, H, W]`, uint8 or in [0, 1], into brightness, uint8 `[H, W]`."""
    rgb = picture
    if picture.dtype != torch.uint8:
        rgb = (picture.clamp(0, 1) * 255).round().byte()
    cv2 = import_cv2()
    return cv2.cvtColor(rearrange(rgb, "c h w -> h w c").cpu().numpy(), cv2.COLOR_RGB2GRAY)


def pixel_positions(height: int, width: int, device: torch.device) -> Tensor:
    """Return x and y of every pixel, `[1, 2, H, W]`."""
    positions = torch.empty(1, 2, height, width, dtype=torch.float32, device=device)
    positions[:, 0] = torch.arange(width, device=device)
    positions[:, 1] = torch.arange(height, device=device)[:, None]
    return positions


def sample(planes: Tensor, positions: Tensor) -> Tensor:
    """Read planes [B, C, H, W] at pixel positions [B, 2, H, W]; the border repeats outside."""
    height, width = planes.shape[-2:]
    # grid_sample counts from -1 to 1 between the centres of the corner pixels.
    spans = torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=planes.device)
    grid = (rearrange(positions, "b xy h w -> b h w xy") / spans).mul_(2).sub_(1)
    return F.grid_sample(planes, grid, padding_mode="border", align_corners=True)
