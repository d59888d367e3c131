"""A small network that corrects what flow and appearance say of where an object is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coprop_plugin.checkpoints.native import SHIPPED, load_module, save_module
from coprop_plugin.errors import PropagationError
from coprop_plugin.propagation.appearance import Cues

FORMAT = "coprop_plugin.MaskRefiner/1"
WEIGHTS = SHIPPED / "mask_refiner.safetensors"
"""Trained on photographic scenes; see `weights/README.md`."""

CUES = 12
"""Maps of `cue_maps`: log-odds, flow's mask before and after recovery, log-odds by looks, change of
colour, whether flow has lost the object, Lab of the frame, and Lab of the keyframe along the flow.
"""

_SURE = 0.02
_LIMIT = 6.0


class MaskRefiner(nn.Module):
    """A U-Net on maps of cues, whose output is added to the log-odds of the untrained propagator.

    The last convolution begins as zero, so that untrained weights change no mask. The maps are
    folded to half their size first (pixel unshuffle), and the output is unfolded.

    Args:
        widths: Channels of each level; every level halves the size.

    Raises:
        PropagationError: If there are fewer than two levels, or a width is not positive.

    Example:
        >>> refiner = MaskRefiner(widths=(8, 16)).eval()
        >>> refiner(torch.randn(2, CUES, 21, 30)).abs().max().item()
        0.0
    """

    def __init__(self, widths: Sequence[int] = (32, 48, 64, 96)) -> None:
        super().__init__()
        if len(widths) < 2 or min(widths) < 1:
            raise PropagationError(
                f"Expected two or more positive widths, got {list(widths)}. Use e.g. (32, 48, 64)."
            )
        self.config = dict(widths=list(widths))
        below = (4 * CUES, *widths[:-1])
        self.down = nn.ModuleList(_block(a, b) for a, b in zip(below, widths, strict=True))
        self.up = nn.ModuleList(
            _block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.last = nn.Conv2d(widths[0], 4, 1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, cues: Tensor) -> Tensor:
        """Return corrections `[B, 1, h, w]` of log-odds for cues `[B, 12, h, w]`."""
        height, width = cues.shape[-2:]
        even = F.pad(cues, (0, width % 2, 0, height % 2), mode="replicate")
        passed, now = [], F.pixel_unshuffle(even, 2)
        for number, block in enumerate(self.down):
            now = block(now if number == 0 else F.avg_pool2d(now, 2, ceil_mode=True))
            passed.append(now)
        for block, beside in zip(self.up, passed[-2::-1], strict=True):
            now = F.interpolate(now, beside.shape[-2:], mode="bilinear", align_corners=False)
            now = block(torch.cat([now, beside], dim=1))
        return F.pixel_shuffle(self.last(now), 2)[..., :height, :width]


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def cue_maps(cues: Cues, odds: Tensor) -> Tensor:
    """Stack what is known of each object in a frame, as input of `MaskRefiner`.

    Args:
        cues: Of `AppearancePropagator.look`.
        odds: `[n, H, W]`, of `AppearancePropagator.odds`.

    Returns:
        `[n, 12, h, w]` float32 on the CPU, in [-6, 6]; h and w are those of `cues.looks`.
    """
    size = cues.looks.shape[:2]
    found = torch.stack([odds, cues.flown[1:], cues.alike[1:]], dim=1)
    found = F.interpolate(found, size, mode="area").float().cpu()
    alike = found[:, 2:].clamp(_SURE, 1 - _SURE).logit()
    lost = torch.tensor(cues.was_lost[1:], dtype=torch.float32)
    colours = np.concatenate([cues.looks[..., :3], cues.before], axis=2)
    count = len(found)
    maps = [
        0.3 * found[:, :1],
        cues.followed[1:, None].float().cpu(),
        found[:, 1:2],
        0.5 * alike,
        (5 * cues.changed).expand(count, 1, *size),
        lost[:, None, None, None].expand(count, 1, *size),
        torch.from_numpy(colours).movedim(-1, 0).expand(count, 6, *size),
    ]
    return torch.cat(maps, dim=1).nan_to_num(0).clamp(-_LIMIT, _LIMIT)


def save_mask_refiner(
    refiner: MaskRefiner, path: str | Path, dtype: torch.dtype | None = None
) -> Path:
    """Save weights and constructor arguments to a safetensors file; returns the path.

    Args:
        refiner: The network, on any device.
        path: The file; its folder is created if missing.
        dtype: `torch.float16` halves the file size; None keeps the weights as they are.

    Raises:
        CheckpointError: If the file cannot be written.
    """
    return save_module(refiner, refiner.config, path, FORMAT, dtype)


def load_mask_refiner(path: str | Path | None = None) -> MaskRefiner:
    """Load a file that `save_mask_refiner` wrote; every weight must fit.

    Args:
        path: The file; None for the weights that come with the library.

    Returns:
        The network on the CPU, in eval mode and float32.

    Raises:
        CheckpointError: If the file is missing, damaged, of another network, or does not fit.
    """
    refiner: Any = load_module(WEIGHTS if path is None else path, FORMAT, MaskRefiner)
    return refiner.float().to(memory_format=torch.channels_last)
