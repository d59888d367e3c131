"""Stages 1 and 1b, training of the Keyframe Processor, as an mmengine model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coprop_plugin.keyframes import (
    KeyframeProcessor,
    load_keyframe_processor,
    save_keyframe_processor,
)
from coprop_plugin.keyframes.frame_tokens import FrameWords
from coprop_plugin.keyframes.processor_weights import WEIGHTS
from coprop_plugin.layers import as_rgb
from coprop_plugin.registry import MODELS, build
from coprop_plugin.training.batches import words_of_batch
from coprop_plugin.training.losses import (
    keyframe_losses,
)
from coprop_plugin.training.stage import StageModel, begun, load_vggish_into


@MODELS.register_module()
class KeyframeTraining(StageModel):
    """Stage 1, on all frames, and stage 1b, on keyframes only (section 3.3).

    A batch holds `frame` `[B, 3, H, W]` uint8 or float in [0, 1], `log_mel` `[B, 1, 96, 64]` and
    `mask` `[B, H, W]` class numbers, and for evaluation `clip` `[B]`, the clip of each frame. For a
    binary processor every class is foreground. For text guidance (Table 4), `words` are B texts.

    Args:
        processor: Options of `KeyframeProcessor`, or a processor.
        weights: Safetensors of a processor to start from, e.g. those of stage 1 for stage 1b, or
            "shipped" for the default weights; `processor` then lists the options that differ from
            the file, if any: `dict(num_classes=1)` for a binary head.
        vggish: Initial weights of the processor's VGGish: a file of its released weights, or
            "released" to download them. None does not change its audio encoder.

    Raises:
        TrainingError: If neither `processor` nor `weights` is given; for batches without `words`,
            if the processor is guided by text.

    Example:
        >>> training = KeyframeTraining(dict(width=32, mask_width=16, num_queries=4))
        >>> batch = dict(frame=torch.zeros(1, 3, 32, 32), log_mel=torch.zeros(1, 1, 96, 64))
        >>> sorted(training(**batch, mask=torch.zeros(1, 32, 32).long()))
        ['loss_dense', 'loss_layers', 'loss_mask', 'loss_sounding']
    """

    wants = ("frame", "log_mel", "mask")
    data = "single frames: WorldFrames, or clips through labelled_frames"

    def __init__(
        self,
        processor: Mapping[str, Any] | KeyframeProcessor | None = None,
        weights: str | Path | None = None,
        *,
        vggish: str | Path | None = None,
    ) -> None:
        super().__init__()
        if isinstance(processor, Mapping) and "num_classes" in processor:
            # Other classes have other names.
            processor = {"class_names": None, **processor}
        self.processor: KeyframeProcessor = begun(
            processor,
            WEIGHTS if weights == "shipped" else weights,
            lambda options: build(
                MODELS, {"type": "KeyframeProcessor", **options}, "segment_keyframes"
            ),
            load_keyframe_processor,
        ).train()
        if vggish is not None:
            load_vggish_into(getattr(self.processor.sound, "encoder", None), vggish)

    def loss(
        self,
        frame: Tensor,
        log_mel: Tensor,
        mask: Tensor,
        words: Sequence[str] | None = None,
        **_: Any,
    ) -> dict[str, Tensor]:
        """Return `keyframe_losses` of a batch."""
        names = self._names(words)
        return keyframe_losses(self.processor.predict(as_rgb(frame), log_mel, names), mask)

    def _names(self, words: Sequence[str] | None) -> list[list[str]] | None:
        """Return the words of a batch for a processor that is guided by text, else None."""
        return words_of_batch(words) if isinstance(self.processor.sound, FrameWords) else None

    def predict(
        self,
        frame: Tensor,
        log_mel: Tensor,
        mask: Tensor,
        clip: Tensor | None = None,
        words: Sequence[str] | None = None,
        **_: Any,
    ) -> list[dict[str, Any]]:
        """Return an outcome for each clip, or for each frame where `clip` [B] is not given."""
        logits = self.processor(as_rgb(frame), log_mel, self._names(words)).float().cpu()
        num_classes = logits.shape[1]
        if num_classes == 1:
            probs, masks = logits.sigmoid(), (logits[:, 0] > 0).long()
        else:
            probs, masks = logits.softmax(1), logits.argmax(1)
        owners = torch.arange(len(masks)) if clip is None else clip.cpu()
        return [
            dict(masks=masks[own], truth=mask.cpu()[own], probs=probs[own], num_classes=num_classes)
            for own in (owners == owner for owner in owners.unique())
        ]

    def export(self, path: str | Path) -> Path:
        """Save the processor, for `load_keyframe_processor`; returns the path."""
        return save_keyframe_processor(self.processor, path)
