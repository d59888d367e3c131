"""Training of the mask refiner on short clips, as an mmengine model."""

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
    """Trains a `MaskRefiner` on clips whose masks are known.

    The masks of a clip's first frame are propagated without corrections; cues and log-odds of every
    other frame and object are an example. Nothing depends on the network's own output. A
    batch holds `frames` `[B, T, 3, H, W]` and `masks` `[B, T, H, W]`, object ids; `tracks`, the
    same while the objects are visible, are taken in place of masks if given.

    Args:
        refiner: Options of `MaskRefiner`, or a network.
        weights: Safetensors of a network to start from; `refiner` then lists the options that
            differ from the file, if any.

    Raises:
        TrainingError: If neither is given.

    Example:
        >>> training = RefinerTraining(dict(widths=(8, 8)))
        >>> masks = torch.zeros(1, 2, 32, 32).long()
        >>> masks[:, :, 8:20, 8:20] = 1
        >>> list(training(frames=torch.rand(1, 2, 3, 32, 32), masks=masks))
        ['loss_masks']
    """

    wants = ("frames", "masks")
    data = "clips: PhotographicClips, WorldClips or SpriteClips"

    def __init__(
        self,
        refiner: Mapping[str, Any] | MaskRefiner | None = None,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.refiner: MaskRefiner = begun(
            refiner, weights, lambda options: MaskRefiner(**options), load_mask_refiner
        ).train()

    def loss(
        self, frames: Tensor, masks: Tensor, tracks: Tensor | None = None, **_: Any
    ) -> dict[str, Tensor]:
        """Return the loss of a batch of clips."""
        found = [
            recorded_cues(clip, ids)
            for clip, ids in zip(as_rgb(frames), masks if tracks is None else tracks, strict=True)
            if bool(ids[0].any())
        ]
        if not found:
            # Zero gradients, but for every parameter, as distributed training needs.
            return dict(loss_masks=0.0 * sum(p.sum() for p in self.parameters()))
        odds, maps, truth = (torch.cat(parts) for parts in zip(*found, strict=True))
        odds, maps, truth = mirrored(odds, recoloured(maps), truth)
        device = next(self.parameters()).device
        odds, maps, truth = (x.to(device) for x in (odds, maps, truth))
        return dict(loss_masks=refiner_loss(odds + self.refiner(maps), truth))

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


class _CueRecorder(RefinedPropagator):
    """Corrects nothing, and keeps log-odds and cues of every frame."""

    def __init__(self) -> None:
        super().__init__(MaskRefiner((1, 1)))
        self.frames: list[tuple[Tensor, Tensor]] = []

    def correction(self, odds: Tensor, maps: Tensor) -> Tensor:
        small = F.interpolate(odds[:, None], maps.shape[-2:], mode="area")
        self.frames.append((small, maps))
        return torch.zeros_like(odds)


def recorded_cues(frames: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Propagate a clip without weights and return what the network learns from.

    Args:
        frames: `[T, 3, H, W]` RGB in [0, 1].
        masks: `[T, H, W]` object ids, 1 to n in the first frame.

    Returns:
        Of N = (T - 1) n frames and objects: log-odds `[N, 1, h, w]`, maps `[N, 12, h, w]` of
        `cue_maps`, and the true share of the object in each pixel, `[N, 1, h, w]`.

    Example:
        >>> masks = torch.ones(3, 24, 32).long()
        >>> [list(x.shape) for x in recorded_cues(torch.rand(3, 3, 24, 32), masks)]
        [[2, 1, 12, 16], [2, 12, 12, 16], [2, 1, 12, 16]]
    """
    recorder = _CueRecorder()
    frames, masks = frames.cpu(), masks.cpu()
    memory = recorder.start(frames[:1], None, masks[:1])
    for frame in frames[1:]:
        recorder.step(memory, frame[None], None)
    ids = torch.arange(1, 1 + int(masks[0].max()))
    of_objects = (masks[1:, None] == ids[:, None, None]).flatten(0, 1)[:, None].float()
    odds, maps = (torch.cat(parts) for parts in zip(*recorder.frames, strict=True))
    return odds, maps, F.interpolate(of_objects, maps.shape[-2:], mode="area")


def recoloured(maps: Tensor) -> Tensor:
    """Change brightness, contrast and hue of both pictures in maps `[N, 12, h, w]` alike."""
    one = (len(maps), 1, 1, 1)
    shift = torch.cat([0.08 * torch.randn(one), 0.06 * torch.randn(len(maps), 2, 1, 1)], dim=1)
    scale = (0.15 * torch.randn(one)).exp().repeat(1, 3, 1, 1)
    scale[:, 1:] *= torch.where(torch.rand(one) < 0.3, -1.0, 1.0)
    changed = maps.clone()
    for channels in _COLOURS:
        changed[:, channels] = maps[:, channels] * scale + scale.sign() * shift
    return changed


def mirrored(*maps: Tensor) -> tuple[Tensor, ...]:
    """Mirror maps `[N, C, h, w]` alike, at random, along either axis."""
    axes = [axis for axis in (-1, -2) if float(torch.rand(())) < 0.5]
    return tuple(one.flip(axes) for one in maps)


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
