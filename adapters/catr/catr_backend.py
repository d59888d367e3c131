"""The adapter for CATR: our own model, and models of the released code."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from coprop_plugin.adapters.calls import ModelCall, map_tensors
from coprop_plugin.adapters.catr.catr_model import CATR
from coprop_plugin.adapters.clip_context import Context
from coprop_plugin.adapters.pictures import resize_logits
from coprop_plugin.adapters.sound import VGGishFeatures
from coprop_plugin.adapters.upstream import UpstreamBackend, look_through
from coprop_plugin.errors import AdapterError
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip, avsbench_times

# A literal of the released code; and 224-pixel frames enlarged, as its data loader does.
CLIP_LENGTH, INPUT_SIZE = 5, 448


@MODELS.register_module(name=["CATRBackend", "catr"])
class CATRBackend(UpstreamBackend):
    """Drives a CATR model: `model(nested, audio_pad, frames, audio_embedding) -> dict`.

    Every frame attends to the five sounds of its clip. The weights were trained with five real
    frames a second apart, which is what `"window"` context, the default, gives. `"frame"` context
    repeats the keyframe and its sound five times. A model of the released code takes no other
    length; ours does the same with the frame alone, at a fifth of the cost.

    A frame's mask is that of its best-scoring query, as in upstream's evaluation.

    Args:
        model: The model.
        context: `"frame"` or `"window"`.
        vggish: A VGGish module, the path of its weights, or None for the public weights, loaded
            when first needed. Of no use to a model of ours that has an audio encoder itself.
        input_size: Side, or height and width, of its input; None is what a model of ours was made
            for, and 448.

    Raises:
        AdapterError: If the model is not built like CATR.
    """

    family = "CATR"
    clip_length = CLIP_LENGTH
    # Tiling makes five of one, at four times the usual pixels.
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
        self.takes_frames = isinstance(network, CATR)
        length = network.clip_length if self.takes_frames else CLIP_LENGTH
        size = input_size or (network.input_size if self.takes_frames else INPUT_SIZE)
        super().__init__(model, context=context, input_size=size, frames_per_clip=length)
        hears = self.takes_frames and network.audio_encoder is not None
        self.ear, self.clip_length = VGGishFeatures(vggish, hears), length
        if self.takes_frames:
            self.frames_at_once = length

    @staticmethod
    def accepts(model: Any) -> bool:
        """Say whether a model has CATR's parts; TPAVI has the same class name but not those."""
        model = look_through(model)
        if isinstance(model, CATR):
            return True
        parts = ("obj_queries", "transformer", "is_referred_head", "instance_kernels_head")
        return isinstance(model, nn.Module) and all(hasattr(model, part) for part in parts)

    def _hear(self, clip: Clip, indices: list[int]) -> Tensor:
        return self.ear(clip, indices)

    def _run(self, pictures: Tensor, sound: Tensor, length: int, wanted: list[int]) -> Tensor:
        if not self.takes_frames:
            return self._logits(self._clips(pictures, sound, length))[wanted]
        frames, sounds = (rearrange(x, "(b t) ... -> b t ...", t=length) for x in (pictures, sound))
        masks, scores = self.network.answer(frames, sounds, wanted=wanted)[-1]
        rows = dict(pred_masks=masks.flatten(0, 1), pred_is_referred=scores.flatten(0, 1))
        return self._logits(rows)

    def _clips(self, frames: Tensor, audio: Tensor, length: int) -> Any:
        """Run groups of `length` frames, everything flat `(b t)`; outputs have rows first."""
        tiles = 1 if self.takes_frames else self.clip_length // length
        # The model wants frames time first, but their sounds clip first.
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
            *args: `nested.tensors` `[T, B, 3, H, W]` says how many clips there are; frames are
                flat `(t b)`, normalised; VGGish embeddings flat `(b t)`, as the model takes them.
            **kwargs: The same by name.

        Raises:
            AdapterError: If the model itself would refuse the call, or shapes disagree.
        """
        arguments = self._bind(args, kwargs)
        nested, _, frames, audio = (*arguments, None)[:4]
        length, clips = _clip_shape(nested)
        pictures = self._pictures(frames)
        if not isinstance(audio, Tensor) or not len(audio) == len(pictures) == length * clips:
            came = len(audio) if isinstance(audio, Tensor) else type(audio).__name__
            raise AdapterError(
                f"Got {len(pictures)} frames and audio {came} for {clips} clips of {length} "
                "frames in a call of CATR; wanted frames [(t b), 3, H, W] and VGGish embeddings "
                "[(b t), 128]."
            )
        rows = [list(range(clip, length * clips, clips)) for clip in range(clips)]
        unpacked = [
            Clip(
                pictures[rows[clip]],
                times=avsbench_times(length),
                sampling="avsbench",
                **self.ear.of_call(audio[clip * length :][:length]),
            )
            for clip in range(clips)
        ]
        return ModelCall(unpacked, rows, length * clips, arguments)

    def _runs_whole(self, call: ModelCall, rows: list[int]) -> bool:
        # Every clip has a keyframe, so every clip is needed, and clips are the windows.
        return self.context == "window"

    def _answer(self, call: ModelCall, rows: list[int]) -> tuple[list[int], Any]:
        _, _, frames, audio = call.arguments
        length, clips = len(call[0]), len(call)
        answers = []
        for some in torch.tensor(rows).split(self.frames_at_once):
            # Frames are time first, their sounds clip first.
            sounds = some % clips * length + some // clips
            answers.append(self._clips(frames[some], audio[sounds], 1))
        return rows, map_tensors(lambda *tensors: torch.cat(tensors), *answers)

    def _rows_first(self, raw: Any, call: ModelCall) -> Any:
        return map_tensors(lambda x: rearrange(x, "t b ... -> (t b) ..."), raw)

    def _restore(self, outputs: Any, call: ModelCall) -> Any:
        clips = len(call)
        return map_tensors(lambda x: rearrange(x, "(t b) ... -> t b ...", b=clips), outputs)

    def _logits(self, outputs: Any) -> Tensor:
        masks, queries = outputs["pred_masks"], _best_queries(outputs)
        return masks[torch.arange(len(masks)), queries][:, None]

    def _carry(self, outputs: Any, rows: list[int], logits: Tensor) -> None:
        # The scores are the keyframe's, so the query that upstream will choose is its own too.
        masks, queries = outputs["pred_masks"], _best_queries(outputs)[rows]
        masks[rows, queries] = resize_logits(logits, masks.shape[-2:])[:, 0].to(masks)


@dataclass
class VideoSamples:
    """What CATR calls a nested tensor: a padded batch and where it is padding.

    Args:
        tensors: `[T, B, 3, H, W]`; the model reads its shape only.
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
    """Return the query that upstream's evaluation reads in every row, `[N]`."""
    return outputs["pred_is_referred"].softmax(-1)[..., 0].argmax(-1)


def _clip_shape(nested: Any) -> tuple[int, int]:
    tensors = getattr(nested, "tensors", None)
    if not isinstance(tensors, Tensor) or tensors.ndim != 5:
        came = type(nested).__name__ if tensors is None else list(tensors.shape)
        raise AdapterError(
            f"Got {came} as first argument in a call of CATR; wanted an object whose `.tensors` "
            "are [T, B, 3, H, W] and whose `.mask` is [T, B, H, W], as its collator makes."
        )
    return tensors.shape[0], tensors.shape[1]
