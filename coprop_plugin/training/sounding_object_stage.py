"""Training of the salient-object model that ships, as an mmengine model."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.keyframes import (
    SoundingObject,
    load_sounding_object,
    save_sounding_object,
)
from coprop_plugin.keyframes.sounding_object import WEIGHTS
from coprop_plugin.layers import as_rgb
from coprop_plugin.registry import MODELS
from coprop_plugin.training.losses import segmentation_loss
from coprop_plugin.training.stage import StageModel, begun


@MODELS.register_module()
class SoundingObjectTraining(StageModel):
    """Fine-tuning of `SoundingObject` on scenes with masks and on photographs without.

    A batch holds `frame` `[B, 3, H, W]` uint8 or float in [0, 1], `log_mel` `[B, 1, 96, 64]` and
    `mask` `[B, H, W]` class numbers, all of which count as foreground; it may hold `photo`
    `[B, 3, H, W]`, photographs on which the model must go on to find what it found before the
    training, so that it does not learn to find pasted edges. Frames in which nothing sounds are
    left out: the model leaves silence empty without training.

    Args:
        model: Options of `SoundingObject`, or a model.
        weights: Safetensors to start from, or "shipped" for those of the library; `model` then
            lists the options that differ from the file. None starts from scratch.
        photo_weight: Weight of the loss on `photo`.
        bfloat16: Whether to compute in bfloat16, which is faster on CPUs with AMX.

    Raises:
        TrainingError: If neither `model` nor `weights` is given.

    Example:
        >>> training = SoundingObjectTraining(dict(input_size=32))
        >>> batch = dict(frame=torch.zeros(1, 3, 32, 32), log_mel=torch.zeros(1, 1, 96, 64))
        >>> sorted(training(**batch, mask=torch.ones(1, 32, 32).long()))
        ['loss_scene']
    """

    wants = ("frame", "log_mel", "mask")
    data = "single frames: PhotographicFrames or WorldFrames"

    def __init__(
        self,
        model: Mapping[str, Any] | SoundingObject | None = None,
        weights: str | Path | None = None,
        *,
        photo_weight: float = 4.0,
        bfloat16: bool = False,
    ) -> None:
        super().__init__()
        self.model: SoundingObject = begun(
            model,
            WEIGHTS if weights == "shipped" else weights,
            lambda options: SoundingObject(**options),
            load_sounding_object,
        ).train()
        self.photo_weight, self.bfloat16 = photo_weight, bfloat16
        # In a list, so that it is not part of checkpoints: it is the start of every run.
        self._before = [copy.deepcopy(self.model).eval().requires_grad_(False)]

    def loss(
        self, frame: Tensor, log_mel: Tensor, mask: Tensor, photo: Tensor | None = None, **_: Any
    ) -> dict[str, Tensor]:
        """Return the loss on frames in which something sounds, and that on photographs."""
        sounding = mask.flatten(1).any(1)
        logits = self._salience(self.model, as_rgb(frame)[sounding])
        scene = segmentation_loss(logits, mask[sounding]) if len(logits) else logits.sum()
        losses = dict(loss_scene=scene)
        if photo is not None:
            before = self._before[0].to(photo.device)
            with torch.no_grad():
                found = self._salience(before, as_rgb(photo)).sigmoid()
            now = self._salience(self.model, as_rgb(photo))
            loss = F.binary_cross_entropy_with_logits(now, found)
            losses["loss_photo"] = self.photo_weight * loss
        return losses

    def predict(
        self, frame: Tensor, log_mel: Tensor, mask: Tensor, **_: Any
    ) -> list[dict[str, Any]]:
        """Return an outcome for each frame."""
        logits = self.model(as_rgb(frame), log_mel).float().cpu()
        masks, probs, truth = (logits[:, 0] > 0).long(), logits.sigmoid(), (mask.cpu() > 0).long()
        return [
            dict(masks=masks[n : n + 1], truth=truth[n : n + 1], probs=probs[n : n + 1])
            for n in range(len(masks))
        ]

    def export(self, path: str | Path) -> Path:
        """Save the model, for `load_sounding_object`; returns the path."""
        return save_sounding_object(self.model, path)

    def _salience(self, model: SoundingObject, frames: Tensor) -> Tensor:
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=self.bfloat16):
            return model.salience(frames).float()
