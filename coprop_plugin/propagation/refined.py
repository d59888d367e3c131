"""Propagation by flow and appearance, corrected by a small network that has seen photographs."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coprop_plugin.propagation.appearance import AppearancePropagator, Cues, resized
from coprop_plugin.propagation.refiner import MaskRefiner, cue_maps, load_mask_refiner
from coprop_plugin.registry import MODELS


@MODELS.register_module(name=["RefinedPropagator", "refined"])
class RefinedPropagator(AppearancePropagator):
    """Propagates masks as `AppearancePropagator` does, and corrects them with a `MaskRefiner`.

    The network sees maps of what flow and appearance say, and the colours of the frame and of the
    keyframe along the flow. It does not know what objects look like, so it works for any object. It
    runs on the processor, once for each object. Needs OpenCV, no audio.

    Args:
        weights: Safetensors of `save_mask_refiner`, or that `coprop train mask_refiner` wrote, or a
            network; None for the weights that ship.
        **options: Options of `AppearancePropagator`.

    Raises:
        CheckpointError: If the weights cannot be loaded.
        MissingExtraError: At `start`, if OpenCV is not installed.

    Example:
        >>> propagator = RefinedPropagator()
        >>> frame, masks = torch.rand(1, 3, 32, 32), torch.zeros(1, 32, 32).long()
        >>> masks[:, 8:20, 8:20] = 1
        >>> memory = propagator.start(frame, None, masks)
        >>> propagator.step(memory, frame, None).shape
        torch.Size([1, 2, 32, 32])
    """

    def __init__(self, weights: str | Path | MaskRefiner | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.refiner = weights if isinstance(weights, MaskRefiner) else load_mask_refiner(weights)

    def odds(self, cues: Cues) -> Tensor:
        """Weigh the cues and correct the result: log-odds `[n, H, W]` against the background."""
        odds = super().odds(cues)
        return odds + self.correction(odds, cue_maps(cues, odds)) if len(odds) else odds

    @torch.no_grad()
    def correction(self, odds: Tensor, maps: Tensor) -> Tensor:
        """Return what is added to log-odds `[n, H, W]`, given their maps of `cue_maps`."""
        like = next(self.refiner.parameters())
        maps = maps.to(like).contiguous(memory_format=torch.channels_last)
        return resized(self.refiner(maps)[:, 0], odds.shape[-2:]).to(odds)
