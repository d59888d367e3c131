"""Training of released families of models, of any size, as an mmengine model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from coprop_plugin.adapters.catr import CATR
from coprop_plugin.adapters.convert import load_released, save_released
from coprop_plugin.adapters.registered import FAMILIES
from coprop_plugin.adapters.released import ReleasedModel
from coprop_plugin.errors import TrainingError
from coprop_plugin.keyframes import load_keyframe_processor
from coprop_plugin.keyframes.frame_tokens import FrameSound
from coprop_plugin.layers import as_rgb, normalise, resized
from coprop_plugin.registry import MODELS
from coprop_plugin.training.family_losses import query_losses
from coprop_plugin.training.losses import segmentation_loss
from coprop_plugin.training.stage import StageModel, begun
from coprop_plugin.types import AudioEncoder

_FEATURE_WEIGHT = 0.1


@MODELS.register_module()
class FamilyTraining(StageModel):
    """TPAVI, AVSegFormer or CATR with binary masks, on clips of one frame per second.

    A batch holds `frames` `[B, T, 3, H, W]` uint8 or float in [0, 1], `log_mel`
    `[B, T, 1, 96, 64]` and `masks` `[B, T, H, W]` class numbers, all of which count as foreground.
    T is the model's clip length, 5. Frames are squashed to the model's `input_size`, as in its
    adapter. Losses are ours, on the outputs that each paper trains: the logits; for AVSegFormer
    also its mask feature; for CATR the matched query of each frame, after every decoder layer.

    Args:
        model: `type`, "tpavi", "avsegformer" or "catr", and options of that model, including its
            `audio_encoder`.
        weights: Safetensors of a model of ours to start from. `model` then lists the options that
            differ from the file, and its `type`.
        senses: Initial weights of backbone and audio encoder, as the released models start from
            those of ImageNet and AudioSet: the safetensors of a Keyframe Processor with the same
            ones, or "shipped" for the default one. None trains from scratch.
        alone: Share of steps in which every frame is a clip of its own, as for a keyframe in
            "frame" context. The authors train on whole clips only, but theirs change less: in a
            clip that changes, TPAVI and CATR cannot tell the second of an audio token.

    Raises:
        TrainingError: If neither `model` nor `weights` is given, or the model is of no known
            family, is not binary, has no audio encoder, or does not fit `senses`.

    Example:
        >>> toy = dict(type="tpavi", backbone="small", audio_encoder="SmallLogMelEncoder", width=8)
        >>> training = FamilyTraining(toy, senses="shipped")
        >>> batch = dict(frames=torch.rand(1, 5, 3, 32, 64), log_mel=torch.zeros(1, 5, 1, 96, 64))
        >>> training.model.input_size = (32, 64)
        >>> sorted(training(**batch, masks=torch.zeros(1, 5, 32, 64).long()))
        ['loss_mask']
    """

    wants = ("frames", "log_mel", "masks")
    data = "clips of one frame per second: WorldSeconds"

    def __init__(
        self,
        model: Mapping[str, Any] | None = None,
        weights: str | Path | None = None,
        *,
        senses: str | Path | None = None,
        alone: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = begun(model, weights, _built, load_released)
        self.family = next(n for n, one in FAMILIES.items() if isinstance(self.model, one.build))
        if self.model.audio_encoder is None or getattr(self.model, "num_classes", 1) != 1:
            raise TrainingError(
                f"Expected a binary model with an audio encoder, got a {self.family} of "
                f"{getattr(self.model, 'num_classes', 1)} classes with audio_encoder="
                f"{self.model.config['audio_encoder']!r}. Use num_classes=1 and "
                "audio_encoder='SmallLogMelEncoder'."
            )
        self.alone = alone
        self.model.train()
        if senses is not None:
            _load_senses(self.model, self.model.audio_encoder, senses)

    def loss(self, frames: Tensor, log_mel: Tensor, masks: Tensor, **_: Any) -> dict[str, Tensor]:
        """Return the losses of a batch."""
        if float(torch.rand(())) < self.alone:
            frames, log_mel, masks = (x.flatten(0, 1)[:, None] for x in (frames, log_mel, masks))
        pictures, flat = self._pictures(frames), masks.flatten(0, 1)
        if isinstance(self.model, CATR):
            clips = rearrange(pictures, "(b t) ... -> b t ...", b=len(frames))
            return query_losses(self.model.answer(clips, log_mel), masks)
        logits, feature = self._forward(pictures, log_mel)
        losses = {"loss_mask": segmentation_loss(logits, flat)}
        if self.family == "avsegformer":
            seen = segmentation_loss(feature.mean(1, keepdim=True), flat)
            losses["loss_feature"] = _FEATURE_WEIGHT * seen
        return losses

    def predict(
        self, frames: Tensor, log_mel: Tensor, masks: Tensor, **_: Any
    ) -> list[dict[str, Any]]:
        """Return an outcome for each clip."""
        pictures = self._pictures(frames)
        if isinstance(self.model, CATR):
            clips = rearrange(pictures, "(b t) ... -> b t ...", b=len(frames))
            found, scores = (x.flatten(0, 1) for x in self.model.answer(clips, log_mel)[-1])
            best = scores.softmax(-1)[..., 0].argmax(-1)
            logits = found[torch.arange(len(best)), best][:, None]
        else:
            logits, _ = self._forward(pictures, log_mel)
        logits = resized(logits.float(), masks.shape[-2:]).cpu()
        logits = rearrange(logits, "(b t) ... -> b t ...", b=len(frames))
        return [
            dict(masks=(own[:, 0] > 0).long(), truth=true, probs=own.sigmoid(), num_classes=1)
            for own, true in zip(logits, masks.cpu(), strict=True)
        ]

    def export(self, path: str | Path) -> Path:
        """Write the model, for `wrap("tpavi", weights=path)`; returns the path."""
        return save_released(self.model, path)

    def _forward(self, pictures: Tensor, log_mel: Tensor) -> tuple[Tensor, Any]:
        flat = log_mel.flatten(0, 1)
        if self.family == "avsegformer":
            return self.model(flat, pictures)
        return self.model(pictures, flat, frames_per_clip=log_mel.shape[1])[:2]

    def _pictures(self, frames: Tensor) -> Tensor:
        flat = as_rgb(frames).flatten(0, 1)
        if tuple(flat.shape[-2:]) != self.model.input_size:
            flat = F.interpolate(flat, self.model.input_size, mode="bilinear", align_corners=False)
        return normalise(flat)


def _built(options: Mapping[str, Any]) -> ReleasedModel:
    name = options.get("type")
    if name not in FAMILIES:
        raise TrainingError(
            f"Expected type to be a released family, {', '.join(FAMILIES)}, got {name!r}."
        )
    return FAMILIES[name].build(**{n: x for n, x in options.items() if n != "type"})


def _load_senses(model: ReleasedModel, encoder: AudioEncoder, senses: str | Path) -> None:
    processor = load_keyframe_processor(None if senses == "shipped" else senses)
    if not isinstance(processor.sound, FrameSound):
        raise TrainingError(
            f"senses={str(senses)!r} is guided by text and has no audio encoder. Use a processor "
            "that is guided by audio."
        )
    try:
        model.backbone.load_state_dict(processor.backbone.state_dict())
        encoder.load_state_dict(processor.sound.encoder.state_dict())
    except RuntimeError as error:
        raise TrainingError(
            f"Backbone and audio encoder of senses={str(senses)!r} do not fit: expected "
            f"{model.config['backbone']!r} and {model.config['audio_encoder']!r}, got "
            f"{processor.config['backbone']!r} and {processor.config['audio_encoder']!r}. Give the "
            "model the same ones."
        ) from error
