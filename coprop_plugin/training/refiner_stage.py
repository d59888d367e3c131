"""Training of the mask refiner, as an mmengine model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.layers import as_rgb
from coprop_plugin.propagation.refined import RefinedPropagator
from coprop_plugin.propagation.refiner import (
    MaskRefiner,
    load_mask_refiner,
    save_mask_refiner,
)
from coprop_plugin.registry import MODELS
from coprop_plugin.training.propagator_stage import carried_outcome
from coprop_plugin.training.stage import StageModel, begun

_COLOURS = (slice(6, 9), slice(9, 12))
"""Channels of `cue_maps` with Lab of the frame and of the keyframe."""
_LEAST_AREA = 0.02


@MODELS.register_module()
class RefinerTraining(StageModel):
    """Trains a `MaskRefiner` on frames whose masks are known.

    A batch to train on holds `odds`, `maps` and `truth`, see `RefinerExamples`. Nothing depends on
    the network's own output. A batch to evaluate on holds `frames` `[B, T, 3, H, W]` and `masks`
    `[B, T, H, W]`, object ids.

    Args:
        refiner: Options of `MaskRefiner`, or a network.
        weights: Safetensors of a network to start from; `refiner` then lists the options that
            differ from the file, if any.
        bfloat16: Whether the network computes in bfloat16 during training; three times as fast on
            CPUs with AMX. The weights stay float32.

    Raises:
        TrainingError: If neither is given.

    Example:
        >>> training = RefinerTraining(dict(widths=(8, 8)))
        >>> maps = torch.randn(2, 12, 20, 24)
        >>> list(training(odds=maps[:, :1], maps=maps, truth=torch.zeros(2, 1, 20, 24)))
        ['loss_masks']
    """

    wants = ("odds", "maps", "truth")
    wants_to_predict = ("frames", "masks")
    data = "examples of RefinerExamples, and is evaluated on clips"

    def __init__(
        self,
        refiner: Mapping[str, Any] | MaskRefiner | None = None,
        weights: str | Path | None = None,
        bfloat16: bool = False,
    ) -> None:
        super().__init__()
        self.bfloat16 = bfloat16
        network: Any = begun(
            refiner, weights, lambda options: MaskRefiner(**options), load_mask_refiner
        )
        self.refiner: MaskRefiner = network.train().to(memory_format=torch.channels_last)

    def loss(self, odds: Tensor, maps: Tensor, truth: Tensor, **_: Any) -> dict[str, Tensor]:
        """Return the loss of a batch of examples."""
        odds, maps, truth = mirrored(odds, recoloured(maps), truth)
        maps = maps.contiguous(memory_format=torch.channels_last)
        with torch.autocast(maps.device.type, torch.bfloat16, enabled=self.bfloat16):
            correction = self.refiner(maps)
        return dict(loss_masks=refiner_loss(odds + correction.float(), truth))

    def predict(self, frames: Tensor, masks: Tensor, **_: Any) -> list[dict[str, Any]]:
        """Return binary outcomes of clips, given the true mask of their first frame."""
        propagator = RefinedPropagator(self.refiner)
        return [
            carried_outcome(propagator, clip, ids)
            for clip, ids in zip(as_rgb(frames), masks, strict=True)
        ]

    def export(self, path: str | Path) -> Path:
        """Save the network, for `RefinedPropagator(weights=path)`; returns the path."""
        return save_mask_refiner(self.refiner, path)


def recoloured(maps: Tensor) -> Tensor:
    """Change brightness, contrast and hue of both pictures in maps `[N, 12, h, w]` alike."""
    one = (len(maps), 1, 1, 1)
    exact: dict[str, Any] = dict(device=maps.device, dtype=maps.dtype)
    shift = torch.randn(len(maps), 3, 1, 1, **exact)
    shift = shift * shift.new_tensor([0.08, 0.06, 0.06])[:, None, None]
    scale = (0.15 * torch.randn(one, **exact)).exp().repeat(1, 3, 1, 1)
    scale[:, 1:] *= torch.where(torch.rand(one, **exact) < 0.3, -1.0, 1.0)
    changed = maps.clone()
    for channels in _COLOURS:
        changed[:, channels] = maps[:, channels] * scale + scale.sign() * shift
    return changed


def mirrored(*maps: Tensor) -> tuple[Tensor, ...]:
    """Mirror maps `[N, C, h, w]` alike, at random: along either axis, and at the diagonal."""
    axes = [axis for axis in (-1, -2) if float(torch.rand(())) < 0.5]
    turned = float(torch.rand(())) < 0.5
    flipped = (one.flip(axes) for one in maps)
    return tuple(one.transpose(-1, -2) if turned else one for one in flipped)


def refiner_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Return cross-entropy, weighted by the object's size, plus soft Dice loss.

    Args:
        logits: `[N, 1, h, w]`.
        truth: The same, 0 to 1.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    probs, truth = logits.sigmoid().flatten(1), truth.flatten(1)
    area = ((truth.sum(1) + 100) / truth.shape[1]).clamp(_LEAST_AREA, 0.5)
    weighted = (entropy.flatten(1).mean(1) / area).clamp_max(20)
    overlap = (2 * (probs * truth).sum(1) + 20) / (probs.sum(1) + truth.sum(1) + 20)
    return (0.3 * weighted + 1 - overlap).mean()
