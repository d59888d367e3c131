"""Dense optical flow (DIS, Kroeger et al., arXiv:1603.03590v1), followed backwards."""

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


def dis(preset: FlowPreset) -> Any:
    """Return OpenCV's DIS flow with a speed setting."""
    cv2 = import_cv2()
    return cv2.DISOpticalFlow_create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{preset.upper()}"))


def flow_between(method: Any, now: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the offset of each pixel of `now` to its place in `before`: `[H, W, 2]`, x and y."""
    if min(now.shape) < LEAST_SIDE:
        return np.zeros((*now.shape, 2), np.float32)
    return method.calc(now, before, None)


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
