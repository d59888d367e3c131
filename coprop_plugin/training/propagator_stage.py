"""Stage 2, training of the propagator on short clips, as an mmengine model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coprop_plugin.errors import TrainingError
from coprop_plugin.layers import as_rgb
from coprop_plugin.propagation import AudioInsertPropagator
from coprop_plugin.propagation.checkpoint import (
    load_aot_checkpoint,
    load_propagator,
    save_propagator,
)
from coprop_plugin.propagation.resolve import WEIGHTS
from coprop_plugin.propagation.text import TextTokens
from coprop_plugin.registry import MODELS, build
from coprop_plugin.training.batches import words_of_batch
from coprop_plugin.training.losses import (
    IGNORED,
    hard_share,
    propagation_loss,
)
from coprop_plugin.training.reference_loss import reference_logits
from coprop_plugin.training.stage import (
    StageModel,
    begun,
    load_vggish_into,
    training_progress,
)
from coprop_plugin.types import Propagator


@MODELS.register_module()
class PropagatorTraining(StageModel):
    """Stage 2: propagation of masks through short clips, with AOT's losses.

    The mean of `propagation_loss` over the frames after the first. In the first part of training
    the true masks are stored in memory (teacher forcing), then the predicted ones, with the ID bank
    frozen, as in AOT. Identities are permuted per sample. Without a guide there is also AOT's loss
    on the keyframe itself, with a weight that falls to 0 over the training.

    A batch holds `frames` `[B, T, 3, H, W]` uint8 or float in [0, 1] and `masks` `[B, T, H, W]`
    object ids, in the first frame from 1 without gaps, later none that is not in the first; and,
    for audio guidance, `log_mel` `[B, T, 1, 96, 64]` and `times` `[B, T]` in seconds. Batches
    without audio are trained on `tracks` `[B, T, H, W]` if given: the same objects, sounding or
    not. For text guidance (Table 4), `words` are B texts, `["dog, flute", ..]`.

    Args:
        propagator: Options of `AudioInsertPropagator`, or a propagator.
        weights: Safetensors of a propagator to start from, or "shipped" for the default weights;
            `propagator` then lists the options that differ from the file, if any.
        aot_weights: A released AOT checkpoint to start from; `propagator` then has the options that
            AOT's weights do not determine.
        teacher_share: Share of the training with teacher forcing.
        audio_dropout: Share of batches without audio or text, which train the propagator on images
            alone.
        freeze_encoder: Whether the image encoder is frozen.
        reference_weight: Weight of the loss on the keyframe, at the start of training.
        vggish: As in `KeyframeTraining`.

    Raises:
        TrainingError: If neither `propagator` nor `weights` is given; for batches without `words`,
            if the propagator is guided by text.

    Example:
        >>> toy = dict(encoder=dict(type="r50", width=8, blocks=(1, 1, 1)), width=16, num_heads=2)
        >>> training = PropagatorTraining(dict(preset="AOTT", insert_layers=(), **toy,
        ...                                    audio_identity=False))
        >>> masks = torch.zeros(1, 2, 32, 32).long()
        >>> masks[:, :, :9] = 1
        >>> list(training(frames=torch.zeros(1, 2, 3, 32, 32), masks=masks))
        ['loss_masks', 'loss_reference']
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
        reference_weight: float = 1.0,
        vggish: str | Path | None = None,
    ) -> None:
        super().__init__()
        if aot_weights is not None:
            if isinstance(propagator, AudioInsertPropagator):
                raise TrainingError(
                    f"Expected options beside the weights {aot_weights}, got an existing "
                    "AudioInsertPropagator. Load the weights into it yourself, or pass the options."
                )
            propagator = load_aot_checkpoint(aot_weights, **(propagator or {}))
        self.propagator: AudioInsertPropagator = begun(
            propagator,
            WEIGHTS if weights == "shipped" else weights,
            lambda options: build(MODELS, {"type": "AudioInsertPropagator", **options}, "step"),
            load_propagator,
        ).train()
        if vggish is not None:
            load_vggish_into(getattr(self.propagator.sound, "encoder", None), vggish)
        self.teacher_share, self.audio_dropout = teacher_share, audio_dropout
        self.freeze_encoder, self.reference_weight = freeze_encoder, reference_weight
        self.propagator.network.encoder.requires_grad_(not freeze_encoder)

    def loss(
        self,
        frames: Tensor,
        masks: Tensor,
        log_mel: Tensor | None = None,
        times: Tensor | None = None,
        tracks: Tensor | None = None,
        words: Sequence[str] | None = None,
        **_: Any,
    ) -> dict[str, Tensor]:
        """Return the mean loss of a batch of clips."""
        progress = training_progress()
        teaches = progress < self.teacher_share
        self.propagator.network.identity.bank.requires_grad_(teaches)
        if not bool(masks[:, 0].any()):
            # No objects: zero gradients, but for every parameter, as distributed training needs.
            return dict(loss_masks=0.0 * sum(p.sum() for p in self.parameters()))
        if float(torch.rand(())) < self.audio_dropout:
            sound = None
        else:
            sound = self._sound(log_mel, times, words)
        if sound is None and tracks is not None:
            masks = tracks
        frames, masks = as_rgb(frames), permuted_ids(masks)
        keyframe = (frames[:, 0], _row(sound, 0), masks[:, 0])
        memory = self.propagator.start(*keyframe)
        losses = []
        for t in range(1, frames.shape[1]):
            forced = masks[:, t] if teaches else None
            logits = self.propagator.step(memory, frames[:, t], _row(sound, t), forced)
            losses.append(propagation_loss(logits.float(), masks[:, t], hard_share(progress)))
        total = dict(loss_masks=torch.stack(losses).mean())
        weight = self.reference_weight * (1 - progress)
        if self.propagator.guide is None and weight > 0:
            read = reference_logits(self.propagator, *keyframe).float()
            known = propagation_loss(read, masks[:, 0], hard_share(progress))
            total["loss_reference"] = weight * known
        return total

    def predict(
        self,
        frames: Tensor,
        masks: Tensor,
        log_mel: Tensor | None = None,
        times: Tensor | None = None,
        words: Sequence[str] | None = None,
        classes: Tensor | None = None,
        num_classes: int = 1,
        **_: Any,
    ) -> list[dict[str, Any]]:
        """Return outcomes of clips, given the true mask of their first frame.

        They are binary; with more than one class in `num_classes`, they have the `classes`
        `[B, 1 + n]` of the object ids.
        """
        frames, sound = as_rgb(frames), self._sound(log_mel, times, words)
        numbers = classes if num_classes > 1 else None
        return [
            carried_outcome(
                self.propagator,
                frames[b],
                masks[b],
                None if sound is None else sound[b],
                None if numbers is None else numbers[b],
                num_classes,
            )
            for b in range(len(frames))
        ]

    def export(self, path: str | Path) -> Path:
        """Save the propagator, for `wrap(propagator=path)`; returns the path."""
        return save_propagator(self.propagator, path)

    def _sound(
        self, log_mel: Tensor | None, times: Tensor | None, words: Sequence[str] | None
    ) -> Tensor | None:
        """Compute tokens `[B, T, N, D]` of audio or text; None if there is neither."""
        tokens = self.propagator.sound
        if isinstance(tokens, TextTokens):
            return None if times is None else self._text(tokens, words, times.shape[1])
        if tokens is None or log_mel is None or times is None:
            return None
        pairs = zip(log_mel, times, strict=True)
        return torch.stack([tokens(mel, when) for mel, when in pairs])

    def _text(self, tokens: TextTokens, words: Sequence[str] | None, num_frames: int) -> Tensor:
        return torch.stack([tokens(names, num_frames) for names in words_of_batch(words)])


def carried_outcome(
    propagator: Propagator,
    frames: Tensor,
    masks: Tensor,
    sound: Tensor | None = None,
    classes: Tensor | None = None,
    num_classes: int = 1,
) -> dict[str, Any]:
    """Propagate the true masks of a clip's first frame; return the fields of an `Outcome`.

    Args:
        propagator: Any propagator.
        frames: `[T, 3, H, W]` RGB in [0, 1].
        masks: `[T, H, W]` object ids, 1 to n in the first frame, 255 where nothing is known.
        sound: Tokens `[T, N, D]` of audio or text, if any.
        classes: `[1 + n]` of the object ids; None for a binary outcome.
        num_classes: Number of classes, with `classes`.
    """
    ids, probs = [masks[:1]], [(masks[:1] > 0).float()]
    if bool(masks[0].any()):
        memory = propagator.start(frames[:1], _row(sound, slice(1)), masks[:1])
    for t in range(1, len(frames)):
        if not bool(masks[0].any()):
            ids.append(torch.zeros_like(ids[0]))
            probs.append(torch.zeros_like(probs[0]))
            continue
        now = slice(t, t + 1)
        logits = propagator.step(memory, frames[now], _row(sound, now)).float()
        ids.append(logits.argmax(1))
        probs.append(1 - logits.softmax(1)[:, 0])
    truth = masks.where(masks != IGNORED, 0)
    outcome = dict(
        labelled=(masks != IGNORED).flatten(1).any(1).cpu(),
        keyframes=torch.arange(len(frames)) == 0,
        num_classes=num_classes if classes is not None else 1,
    )
    if classes is not None:
        return outcome | dict(masks=classes[torch.cat(ids)].cpu(), truth=classes[truth].cpu())
    soft = torch.cat(probs).cpu()
    return outcome | dict(
        masks=(soft > 0.5).long(), truth=(truth > 0).long().cpu(), probs=soft[:, None]
    )


def _row(sound: Tensor | None, t: int | slice) -> Tensor | None:
    """Return the tokens of frame t of all clips `[B, T, ...]`, or of frames `t` of one clip."""
    if sound is None:
        return None
    return sound[t] if isinstance(t, slice) else sound[:, t]


def permuted_ids(masks: Tensor) -> Tensor:
    """Permute the identities of the objects of each sample at random; 0 and 255 are kept.

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
