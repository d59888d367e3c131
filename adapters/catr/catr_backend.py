"""Adapter for CATR: our own model, and models of the released code."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from coprop_plugin.adapters.calls import ModelCall, avsbench_clip, map_tensors
from coprop_plugin.adapters.catr.catr_model import CATR
from coprop_plugin.adapters.clip_context import Context
from coprop_plugin.adapters.sound import VGGishFeatures
from coprop_plugin.adapters.upstream import UpstreamBackend
from coprop_plugin.errors import AdapterError
from coprop_plugin.layers import resized
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip

# A literal of the released code.
CLIP_LENGTH = 5


@MODELS.register_module(name=["CATRBackend", "catr"])
class CATRBackend(UpstreamBackend):
    """Backend for CATR: `model(nested, audio_pad, frames, audio_embedding) -> dict`.

    Every frame attends to the audio of the five frames of its clip. The weights were trained with
    five real frames a second apart, as in `"window"` context, the default. `"frame"` context
    repeats the keyframe and its audio five times: a model of the released code takes no other
    length. Ours computes the same from the frame alone, at a fifth of the cost.

    A frame's mask is that of its best-scoring query, as in upstream's evaluation.

    Args:
        model: The model.
        context: `"frame"` or `"window"`.
        vggish: A VGGish module, the path of its weights, or None for the public weights, loaded
            when first needed. Unused for a model of ours with an audio encoder of its own.
        input_size: Side, or height and width, of its input; None is the size that a model of ours
            was built for, and 448 for released models.

    Raises:
        AdapterError: If the model is not built like CATR.
    """

    family, own_model = "CATR", CATR
    # TPAVI has the same class name, but not these.
    parts = ("obj_queries", "transformer", "is_referred_head", "instance_kernels_head")
    # 224-pixel frames enlarged, as in its data loader.
    released_size = 448
    clip_length = CLIP_LENGTH
    # Tiling makes five frames of one, at four times the usual pixels.
    frames_at_once = 1

    def __init__(
        self,
        model: nn.Module,
        *,
        context: Context = "window",
        vggish: nn.Module | str | Path | None = None,
        input_size: int | Sequence[int] | None = None,
    ) -> None:
        network = self._checked(model)
        length = network.clip_length if isinstance(network, CATR) else CLIP_LENGTH
        super().__init__(model, context=context, input_size=input_size, frames_per_clip=length)
        has_encoder = self.is_ours and network.audio_encoder is not None
        self.audio_features = VGGishFeatures(vggish, model_has_audio_encoder=has_encoder)
        self.clip_length = length
        if self.is_ours:
            self.frames_at_once = length

    def _audio_inputs(self, clip: Clip, indices: list[int]) -> Tensor:
        return self.audio_features(clip, indices)

    def _run(self, pictures: Tensor, sound: Tensor, length: int, wanted: list[int]) -> Tensor:
        if not self.is_ours:
            return self._native(self._clips(pictures, sound, length))[wanted]
        frames, sounds = (rearrange(x, "(b t) ... -> b t ...", t=length) for x in (pictures, sound))
        masks, scores = self.network.answer(frames, sounds, wanted=wanted)[-1]
        rows = dict(pred_masks=masks.flatten(0, 1), pred_is_referred=scores.flatten(0, 1))
        return self._native(rows)

    def _clips(self, frames: Tensor, audio: Tensor, length: int) -> Any:
        """Run groups of `length` frames, everything flat `(b t)`; outputs have rows first."""
        tiles = 1 if self.is_ours else self.clip_length // length
        # The model takes frames time first, but their audio clip first.
        frames = repeat(frames, "(b t) c h w -> (t tiles b) c h w", t=length, tiles=tiles)
        audio = repeat(audio, "(b t) ... -> (b t tiles) ...", t=length, tiles=tiles)
        tensors = rearrange(frames, "(t b) c h w -> t b c h w", t=length * tiles)
        time, clips, _, height, width = tensors.shape
        mask = torch.zeros(time, clips, height, width, dtype=torch.bool, device=frames.device)
        audio_pad = torch.zeros(clips, time, dtype=torch.bool, device=frames.device)
        raw = self.network(VideoSamples(tensors, mask), audio_pad, frames, audio)
        return map_tensors(lambda x: rearrange(x[:length], "t b ... -> (b t) ..."), raw)

    def unpack(self, *args: Any, **kwargs: Any) -> ModelCall:
        """Return the clips of a call `(nested, audio_pad, frames, audio_embedding)`.

        Args:
            *args: `nested.tensors` `[T, B, 3, H, W]` gives the number of clips; frames are flat
                `(t b)`, normalised; VGGish embeddings flat `(b t)`, as the model takes them.
            **kwargs: The same by name.

        Raises:
            AdapterError: If the model does not accept the arguments, or shapes disagree.
        """
        arguments = self._bind(args, kwargs)
        nested, _, frames, audio = (*arguments, None)[:4]
        length, clips = _clip_shape(nested)
        pictures = self._pictures(frames)
        if not isinstance(audio, Tensor) or not len(audio) == len(pictures) == length * clips:
            came = len(audio) if isinstance(audio, Tensor) else type(audio).__name__
            raise AdapterError(
                "Expected frames [(t b), 3, H, W] and VGGish embeddings [(b t), 128] in a call of "
                f"CATR, got {len(pictures)} frames and audio {came} for {clips} clips of {length} "
                "frames."
            )
        rows = [list(range(clip, length * clips, clips)) for clip in range(clips)]
        unpacked = [
            avsbench_clip(
                pictures[rows[clip]],
                **self.audio_features.of_call(audio[clip * length :][:length]),
            )
            for clip in range(clips)
        ]
        return ModelCall(unpacked, rows, length * clips, arguments)

    def _runs_whole(self, call: ModelCall, rows: list[int]) -> bool:
        # Every clip has a keyframe, so every clip is run, and clips are the windows.
        return self.context == "window"

    def _run_rows(self, call: ModelCall, rows: list[int]) -> tuple[list[int], Any]:
        _, _, frames, audio = call.arguments
        length, clips = len(call[0]), len(call)
        outputs = []
        for some in torch.tensor(rows).split(self.frames_at_once):
            # Frames are time first, their audio clip first.
            audio_rows = some % clips * length + some // clips
            outputs.append(self._clips(frames[some], audio[audio_rows], 1))
        return rows, map_tensors(lambda *tensors: torch.cat(tensors), *outputs)

    def _rows_first(self, raw: Any, call: ModelCall) -> Any:
        return map_tensors(lambda x: rearrange(x, "t b ... -> (t b) ..."), raw)

    def _restore(self, outputs: Any, call: ModelCall) -> Any:
        clips = len(call)
        return map_tensors(lambda x: rearrange(x, "(t b) ... -> t b ...", b=clips), outputs)

    def _native(self, outputs: Any) -> Tensor:
        masks, queries = outputs["pred_masks"], _best_queries(outputs)
        return masks[torch.arange(len(masks)), queries][:, None]

    def _overwrite(self, outputs: Any, rows: list[int], logits: Tensor) -> None:
        # The scores are the keyframe's, so upstream selects the keyframe's query.
        masks, queries = outputs["pred_masks"], _best_queries(outputs)[rows]
        masks[rows, queries] = resized(logits, masks.shape[-2:])[:, 0].to(masks)


@dataclass
class VideoSamples:
    """CATR's nested tensor: a padded batch and its padding mask.

    Args:
        tensors: `[T, B, 3, H, W]`; the model uses its shape only.
        mask: `[T, B, H, W]` bool, True for padding.
    """

    tensors: Tensor
    mask: Tensor

    def to(self, device: torch.device | str) -> "VideoSamples":
        """Return the same on another device."""
        return VideoSamples(self.tensors.to(device), self.mask.to(device))

    def decompose(self) -> tuple[Tensor, Tensor]:
        """Return both."""
        return self.tensors, self.mask


def _best_queries(outputs: Any) -> Tensor:
    """Return the query that upstream's evaluation selects in every row, `[N]`."""
    return outputs["pred_is_referred"].softmax(-1)[..., 0].argmax(-1)


def _clip_shape(nested: Any) -> tuple[int, int]:
    tensors = getattr(nested, "tensors", None)
    if not isinstance(tensors, Tensor) or tensors.ndim != 5:
        came = type(nested).__name__ if tensors is None else list(tensors.shape)
        raise AdapterError(
            "Expected an object with `.tensors` [T, B, 3, H, W] and `.mask` [T, B, H, W], as "
            f"CATR's collator makes it, as first argument in a call of CATR, got {came}."
        )
    return tensors.shape[0], tensors.shape[1]
