"""Adapter for TPAVI: the baselines of the released AVSBench code, and our own model."""

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from coprop_plugin.adapters.calls import ModelCall, avsbench_clip, clip_rows, map_tensors
from coprop_plugin.adapters.clip_context import Context
from coprop_plugin.adapters.devices import attributes
from coprop_plugin.adapters.sound import VGGishFeatures, check_sound_of_call
from coprop_plugin.adapters.tpavi.tpavi_model import TPAVI
from coprop_plugin.adapters.upstream import UpstreamBackend
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip

# The released code has these as literals.
RELEASED_GROUP = 5
BINARY_CLIP, SEMANTIC_CLIP = 5, 10


@MODELS.register_module(name=["TPAVIBackend", "tpavi"])
class TPAVIBackend(UpstreamBackend):
    """Backend for TPAVI: `model(frames, audio_embedding[, flag]) -> (logits, maps, audio)`.

    Every frame of a group of five attends to all five frames and their audio. The weights were
    trained with five real frames a second apart, as in `"window"` context, the default. `"frame"`
    context runs the model on groups of one: the result of tiling the keyframe five times, at a
    fifth of the cost.

    Args:
        model: The model, upstream's or ours, for binary masks or for AVSS (with groups of five,
            though its clips have ten frames).
        context: `"frame"` or `"window"`.
        vggish: A VGGish module, the path of its weights, or None for the public weights, loaded
            when first needed. Unused for a model of ours with an audio encoder of its own.
        input_size: Side, or height and width, of its input, multiples of 32; None is the size that
            a model of ours was built for, and 224 for released models.
        frames_per_clip: Frames of a clip in a drop-in call; None is 5, for AVSS 10.
        patch: Whether `"frame"` context may replace two methods of an upstream instance during a
            call. False tiles the keyframe instead.

    Raises:
        AdapterError: If the model is not built like TPAVI.
    """

    family = "TPAVI"
    own_model: type[nn.Module] | None = TPAVI
    # CATR has the same class name, but not these.
    parts = ("tpavi_stages", "tpavi_va_flag", "output_conv")

    def __init__(
        self,
        model: nn.Module,
        *,
        context: Context = "window",
        vggish: nn.Module | str | Path | None = None,
        input_size: int | Sequence[int] | None = None,
        frames_per_clip: int | None = None,
        patch: bool = True,
    ) -> None:
        network = self._checked(model)
        num_classes = self._classes(network)
        usual = BINARY_CLIP if num_classes == 1 else SEMANTIC_CLIP
        super().__init__(
            model,
            context=context,
            input_size=input_size,
            frames_per_clip=frames_per_clip or usual,
        )
        self.num_classes = num_classes
        has_encoder = self.is_ours and network.audio_encoder is not None
        self.audio_features = VGGishFeatures(vggish, model_has_audio_encoder=has_encoder)
        self.clip_length = network.frames_per_clip if self.is_ours else RELEASED_GROUP
        self.wants_flag = "vid_temporal_mask_flag" in _required(network.forward)
        self.patch = patch and _has_literal_groups(network)
        if not self.is_ours and not self.patch:
            # Tiling makes five frames of one.
            self.frames_at_once = 1

    @staticmethod
    def _classes(network: Any) -> int:
        if isinstance(network, TPAVI):
            return network.num_classes
        return int(network.output_conv[-1].out_channels)

    def _audio_inputs(self, clip: Clip, indices: list[int]) -> Tensor:
        return self.audio_features(clip, indices)

    def _run(self, pictures: Tensor, sound: Tensor, length: int, wanted: list[int]) -> Tensor:
        if self.is_ours:
            return self.network(pictures, sound, frames_per_clip=length, wanted=wanted)[0]
        run = self._forward if length == self.clip_length else self._alone
        return run(pictures, sound)[0][wanted]

    def _forward(self, frames: Tensor, audio: Tensor, flag: Tensor | None = None) -> Any:
        if self.wants_flag and flag is None:
            flag = torch.ones(len(frames), dtype=frames.dtype, device=frames.device)
        flags = () if flag is None else (flag,)
        return self._rows_first(self.network(frames, audio, *flags))

    def _alone(self, frames: Tensor, audio: Tensor, flag: Tensor | None = None) -> Any:
        """Run every frame as a group of its own; outputs have rows first."""
        if self.is_ours:
            return self._rows_first(self.network(frames, audio, flag, frames_per_clip=1))
        if self.patch:
            with _groups_of_one(self.network):
                return self._forward(frames, audio, flag)
        length = self.clip_length
        frames, audio = (repeat(x, "n ... -> (n t) ...", t=length) for x in (frames, audio))
        flag = None if flag is None else repeat(flag, "n ... -> (n t) ...", t=length)
        return map_tensors(lambda rows: rows[::length], self._forward(frames, audio, flag))

    def unpack(self, *args: Any, **kwargs: Any) -> ModelCall:
        """Return the clips of a call `(frames, audio_embedding[, flag])`.

        Args:
            *args: Frames `[N, 3, H, W]`, normalised; VGGish embeddings `[N, 128]`, or log-mels for
                a model with an audio encoder; for AVSS the flag `[N]`, 0 for padding.
            **kwargs: The same by name.

        Raises:
            AdapterError: If the model does not accept the arguments, or its clips are of another
                length than `frames_per_clip`.
        """
        arguments = self._bind(args, kwargs)
        frames, audio, flag = (*arguments, None, None)[:3]
        pictures = self._pictures(frames)
        check_sound_of_call(audio, len(pictures), "VGGish embedding [128]", "TPAVI")
        rows = clip_rows(len(pictures), self.frames_per_clip, flag, self.family)
        clips = [
            avsbench_clip(pictures[clip], **self.audio_features.of_call(audio[clip]))
            for clip in rows
        ]
        return ModelCall(clips, rows, len(pictures), arguments)

    def _runs_whole(self, call: ModelCall, rows: list[int]) -> bool:
        groups, real_groups = (self._groups(some) for some in (rows, call.real_rows))
        return self.context == "window" and groups == real_groups

    def _groups(self, rows: Sequence[int]) -> set[int]:
        return {row // self.clip_length for row in rows}

    def _run_rows(self, call: ModelCall, rows: list[int]) -> tuple[list[int], Any]:
        frames, audio, flag = (*call.arguments, None)[:3]
        run, ran = self._alone, rows
        if self.context == "window":
            groups, run = self._groups(rows), self._forward
            ran = [row for row in range(len(frames)) if row // self.clip_length in groups]
        flag = None if flag is None else flag.flatten()[ran]
        return ran, run(frames[ran], audio[ran], flag)

    def _rows_first(self, raw: Any, call: ModelCall | None = None) -> Any:
        logits, maps, sounds = raw
        sounds = [None if x is None else rearrange(x, "g t c -> (g t) c") for x in sounds]
        return logits, maps, sounds

    def _restore(self, outputs: Any, call: ModelCall) -> Any:
        logits, maps, sounds = outputs
        length = self.clip_length
        groups = [None if x is None else rearrange(x, "(g t) c -> g t c", t=length) for x in sounds]
        return logits, maps, groups


def _required(function: Any) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.default is p.empty}


def _has_literal_groups(network: Any) -> bool:
    methods = ("pre_reshape_for_tpavi", "tpavi_va")
    return all(callable(getattr(network, name, None)) for name in methods)


def _groups_of_one(network: Any) -> AbstractContextManager[None]:
    """Make the model treat every frame as a clip of its own, instead of five."""

    def pre_reshape_for_tpavi(frames: Tensor) -> Tensor:
        return rearrange(frames, "n c h w -> n c 1 h w")

    def tpavi_va(frames: Tensor, audio: Tensor, stage: int) -> tuple[Tensor, Tensor]:
        block = getattr(network, f"tpavi_b{stage + 1}")
        frames, audio = block(pre_reshape_for_tpavi(frames), rearrange(audio, "n c -> n 1 c"))
        return rearrange(frames, "n c 1 h w -> n c h w"), audio

    return attributes(network, pre_reshape_for_tpavi=pre_reshape_for_tpavi, tpavi_va=tpavi_va)
