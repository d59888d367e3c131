"""What is trained in each stage, as mmengine models: a loss of a batch, or outcomes to score."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coprop_plugin.audio.vggish import VGGish, load_vggish
from coprop_plugin.errors import TrainingError
from coprop_plugin.keyframes import (
    KeyframeProcessor,
    load_keyframe_processor,
    save_keyframe_processor,
)
from coprop_plugin.propagation import AudioInsertPropagator
from coprop_plugin.propagation.checkpoint import (
    load_aot_checkpoint,
    load_propagator,
    save_propagator,
)
from coprop_plugin.registry import MODELS, build
from coprop_plugin.training.losses import (
    IGNORED,
    hard_share,
    keyframe_losses,
    propagation_loss,
)
from coprop_plugin.training.stage import StageModel, as_rgb, check_one_given, training_progress


@MODELS.register_module()
class KeyframeTraining(StageModel):
    """Stage 1, on all frames, and 1b, on keyframes alone (section 3.3): what sounds, and where.

    A batch holds `frame` `[B, 3, H, W]` uint8 or float in [0, 1], `log_mel` `[B, 1, 96, 64]` and
    `mask` `[B, H, W]` class numbers, and for scores `clip` `[B]`, which clip a frame is of. A
    binary processor takes every class for "sounds".

    Args:
        processor: Options of `KeyframeProcessor`, or one.
        weights: Safetensors of a processor to begin with, instead of `processor`: those of stage
            1, for stage 1b.
        vggish: Where the processor's VGGish begins: a file of its released weights, or
            "released" to download them. None leaves its audio encoder as it is.

    Raises:
        TrainingError: If not just one of the two is given.

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
        check_one_given(processor=processor, weights=weights)
        if weights is not None:
            processor = load_keyframe_processor(weights)
        elif isinstance(processor, Mapping):
            processor = build(
                MODELS, {"type": "KeyframeProcessor", **processor}, verb="segment_keyframes"
            )
        self.processor = processor.train()
        if vggish is not None:
            begin_with_vggish(self.processor.sound, vggish)

    def loss(self, frame: Tensor, log_mel: Tensor, mask: Tensor, **_: Any) -> dict[str, Tensor]:
        """Return `keyframe_losses` of a batch."""
        return keyframe_losses(self.processor.predict(as_rgb(frame), log_mel), mask)

    def predict(
        self,
        frame: Tensor,
        log_mel: Tensor,
        mask: Tensor,
        clip: Tensor | None = None,
        **_: Any,
    ) -> list[dict[str, Any]]:
        """Return an outcome for each clip, or for each frame where `clip` [B] is not given."""
        logits = self.processor(as_rgb(frame), log_mel).float().cpu()
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
        """Write the processor, for `load_keyframe_processor`; returns the path."""
        return save_keyframe_processor(self.processor, path)


@MODELS.register_module()
class PropagatorTraining(StageModel):
    """Stage 2: masks carried through short clips, with AOT's losses.

    The mean of `propagation_loss` over the frames after the first. In the first part of training
    the true masks are remembered (teacher forcing), then the predicted ones, with the ID bank
    frozen, as in AOT. Identities are permuted per sample. Unlike AOT there is no loss on the
    reference frame.

    A batch holds `frames` `[B, T, 3, H, W]` uint8 or float in [0, 1] and `masks` `[B, T, H, W]`
    object ids, in the first frame from 1 without gaps, later none that is not in the first; and,
    for what listens, `log_mel` `[B, T, 1, 96, 64]` and `times` `[B, T]` in seconds. Batches without
    sound learn `tracks` `[B, T, H, W]` if there are any: the same objects, sounding or not.

    Args:
        propagator: Options of `AudioInsertPropagator`, or one.
        weights: Safetensors of a propagator to begin with, instead of `propagator`.
        aot_weights: A released AOT checkpoint to begin with; `propagator` then says what AOT's
            weights leave open.
        teacher_share: For which share of the training true masks are remembered.
        audio_dropout: How many batches are trained without sound, so that pictures alone do, too.
        freeze_encoder: Whether the image encoder stays as it is.
        vggish: As in `KeyframeTraining`.

    Raises:
        TrainingError: If not just one of `propagator` and `weights` is given.

    Example:
        >>> toy = dict(encoder=dict(type="r50", width=8, blocks=(1, 1, 1)), width=16, num_heads=2)
        >>> training = PropagatorTraining(dict(preset="AOTT", insert_layers=(), **toy,
        ...                                    audio_identity=False))
        >>> masks = torch.zeros(1, 2, 32, 32).long()
        >>> masks[:, :, :9] = 1
        >>> list(training(frames=torch.zeros(1, 2, 3, 32, 32), masks=masks))
        ['loss_masks']
    """

    wants = ("frames", "masks")
    data = "clips: WorldClips, SpriteClips, or others through sounding_clips"

    def __init__(
        self,
        propagator: Mapping[str, Any] | AudioInsertPropagator | None = None,
        weights: str | Path | None = None,
        aot_weights: str | Path | None = None,
        *,
        teacher_share: float = 0.5,
        audio_dropout: float = 0.1,
        freeze_encoder: bool = False,
        vggish: str | Path | None = None,
    ) -> None:
        super().__init__()
        check_one_given(propagator=propagator, weights=weights)
        if weights is not None:
            propagator = load_propagator(weights)
        elif aot_weights is not None:
            propagator = load_aot_checkpoint(aot_weights, **propagator)
        elif isinstance(propagator, Mapping):
            propagator = build(MODELS, {"type": "AudioInsertPropagator", **propagator}, verb="step")
        self.propagator: AudioInsertPropagator = propagator.train()
        if vggish is not None:
            begin_with_vggish(self.propagator.sound, vggish)
        self.teacher_share, self.audio_dropout = teacher_share, audio_dropout
        self.freeze_encoder = freeze_encoder
        self.propagator.network.encoder.requires_grad_(not freeze_encoder)

    def loss(
        self,
        frames: Tensor,
        masks: Tensor,
        log_mel: Tensor | None = None,
        times: Tensor | None = None,
        tracks: Tensor | None = None,
        **_: Any,
    ) -> dict[str, Tensor]:
        """Return the mean loss of a batch of clips."""
        progress = training_progress()
        teaches = progress < self.teacher_share
        self.propagator.network.identity.bank.requires_grad_(teaches)
        if not bool(masks[:, 0].any()):
            # Nothing to carry: no gradient, but every parameter has taken part.
            return dict(loss_masks=0.0 * sum(p.sum() for p in self.parameters()))
        if float(torch.rand(())) < self.audio_dropout:
            log_mel = None
        sound = self._sound(log_mel, times)
        if sound is None and tracks is not None:
            masks = tracks
        frames, masks = as_rgb(frames), permuted_ids(masks)
        memory = self.propagator.start(frames[:, 0], _row(sound, 0), masks[:, 0])
        losses = []
        for t in range(1, frames.shape[1]):
            forced = masks[:, t] if teaches else None
            logits = self.propagator.step(memory, frames[:, t], _row(sound, t), forced)
            losses.append(propagation_loss(logits.float(), masks[:, t], hard_share(progress)))
        return dict(loss_masks=torch.stack(losses).mean())

    def predict(
        self,
        frames: Tensor,
        masks: Tensor,
        log_mel: Tensor | None = None,
        times: Tensor | None = None,
        **_: Any,
    ) -> list[dict[str, Any]]:
        """Return binary outcomes of clips whose first frame has its true mask."""
        frames, sound = as_rgb(frames), self._sound(log_mel, times)
        return [
            self._outcome(frames[b], masks[b], None if sound is None else sound[b])
            for b in range(len(frames))
        ]

    def export(self, path: str | Path) -> Path:
        """Write the propagator, for `wrap(propagator=path)`; returns the path."""
        return save_propagator(self.propagator, path)

    def _outcome(self, frames: Tensor, masks: Tensor, sound: Tensor | None) -> dict[str, Any]:
        rows = [(masks[:1] > 0).float()]
        if bool(masks[0].any()):
            memory = self.propagator.start(frames[:1], _row(sound, slice(1)), masks[:1])
        for t in range(1, len(frames)):
            if not bool(masks[0].any()):
                rows.append(torch.zeros_like(rows[0]))
                continue
            now = slice(t, t + 1)
            logits = self.propagator.step(memory, frames[now], _row(sound, now))
            rows.append(1 - logits.float().softmax(1)[:, 0])
        probs = torch.stack(rows, dim=1)[0].cpu()
        return dict(
            masks=(probs > 0.5).long(),
            truth=((masks > 0) & (masks != IGNORED)).long().cpu(),
            probs=probs[:, None],
            num_classes=1,
            labelled=(masks != IGNORED).flatten(1).any(1).cpu(),
            keyframes=torch.arange(len(frames)) == 0,
        )

    def _sound(self, log_mel: Tensor | None, times: Tensor | None) -> Tensor | None:
        """Make tokens `[B, T, N, D]` of the sound, None where nothing is heard."""
        if self.propagator.sound is None or log_mel is None or times is None:
            return None
        pairs = zip(log_mel, times, strict=True)
        return torch.stack([self.propagator.sound(mel, when) for mel, when in pairs])


def _row(sound: Tensor | None, t: int | slice) -> Tensor | None:
    """Sound of frame t of all clips `[B, T, ...]`; or of frames `t` of one clip `[T, ...]`."""
    if sound is None:
        return None
    return sound[t] if isinstance(t, slice) else sound[:, t]


def begin_with_vggish(sound: nn.Module | None, weights: str | Path) -> None:
    """Fill the VGGish of what listens with its released weights.

    Args:
        sound: Has an `encoder`.
        weights: A file, or "released" to download them.

    Raises:
        TrainingError: If the encoder is another than VGGish, or there is none.
        CheckpointError: If the weights cannot be had.
    """
    encoder = getattr(sound, "encoder", None)
    if not isinstance(encoder, VGGish):
        raise TrainingError(
            f"Got vggish={str(weights)!r} for an audio encoder of type {type(encoder).__name__}. "
            "Say audio_encoder='VGGish', or leave vggish out."
        )
    released = load_vggish(None if weights == "released" else weights)
    encoder.load_state_dict(released.state_dict())


def permuted_ids(masks: Tensor) -> Tensor:
    """Give the objects of each sample other identities, drawn anew; 0 and 255 stay.

    Args:
        masks: `[B, T, H, W]` object ids, 1 to n in the first frame.

    Returns:
        The same with ids 1 to n, the highest of the batch, permuted.

    Example:
        >>> permuted_ids(torch.tensor([[[[0, 1, 255]]]])).tolist()
        [[[[0, 1, 255]]]]
    """
    num_objects = int(masks[:, 0].where(masks[:, 0] != IGNORED, 0).max())
    permuted = masks.clone()
    for b in range(len(masks)):
        table = torch.zeros(256, dtype=masks.dtype)
        table[IGNORED] = IGNORED
        table[1 : num_objects + 1] = 1 + torch.randperm(num_objects)
        permuted[b] = table.to(masks.device)[masks[b]]
    return permuted
