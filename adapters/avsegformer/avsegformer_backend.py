"""Adapter for AVSegFormer: our own model, and models of the released code."""

import contextlib
from collections.abc import Sequence
from typing import Any

from einops import repeat
from torch import Tensor, nn

from coprop_plugin.adapters.avsegformer.avsegformer_model import (
    BINARY_SIZE,
    SEMANTIC_SIZE,
    AVSegFormer,
    check_call,
)
from coprop_plugin.adapters.avsegformer.wav_files import wav_log_mels
from coprop_plugin.adapters.calls import ModelCall, avsbench_clip, clip_rows
from coprop_plugin.adapters.clip_context import Context
from coprop_plugin.adapters.devices import attributes, borrow_model
from coprop_plugin.adapters.sound import check_sound_of_call
from coprop_plugin.adapters.upstream import UpstreamBackend, look_through
from coprop_plugin.audio.log_mel import clip_log_mel
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip


@MODELS.register_module(name=["AVSegFormerBackend", "avsegformer"])
class AVSegFormerBackend(UpstreamBackend):
    """Backend for AVSegFormer: `model(audio, frames[, flag]) -> (logits, mask_feature)`.

    Frames are independent of one another in this model, so `"frame"` context is exact and the
    default; `"window"` gives the same masks more slowly. The released code cannot take a single
    frame; it is given twice there.

    Args:
        model: Ours, or the released code's. VGGish is part of it, so its audio input is log-mels.
        context: `"frame"` or `"window"`.
        input_size: Side, or height and width, of its input; None is the size that a model of ours
            was built for, and 512 for released binary models, 224 for AVSS.
        frames_per_clip: Frames of a clip in a drop-in call; None is the model's own.

    Raises:
        AdapterError: If the model is not built like AVSegFormer.
    """

    family, own_model = "AVSegFormer", AVSegFormer
    parts = ("backbone", "vggish", "head", "audio_proj", "T")

    def __init__(
        self,
        model: nn.Module,
        *,
        context: Context = "frame",
        input_size: int | Sequence[int] | None = None,
        frames_per_clip: int | None = None,
    ) -> None:
        network = self._checked(model)
        ours = isinstance(network, AVSegFormer)
        num_classes = int((network if ours else network.head).num_classes)
        length = int(network.clip_length if ours else network.T)
        usual = BINARY_SIZE if num_classes == 1 else SEMANTIC_SIZE
        super().__init__(
            model,
            context=context,
            input_size=input_size or (None if ours else usual),
            frames_per_clip=frames_per_clip or length,
        )
        self.num_classes, self.clip_length = num_classes, length

    @classmethod
    def accepts(cls, model: Any) -> bool:
        """Tell whether a model is ours, or has the parts of the released one, and its head."""
        if not super().accepts(model):
            return False
        model = look_through(model)
        return isinstance(model, AVSegFormer) or hasattr(model.head, "num_classes")

    def _audio_inputs(self, clip: Clip, indices: list[int]) -> Tensor:
        return clip_log_mel(clip, indices)

    def _run(self, pictures: Tensor, sound: Tensor, length: int, wanted: list[int]) -> Tensor:
        return self._forward(sound, pictures)[0][wanted]

    def _forward(self, log_mel: Tensor, frames: Tensor, flag: Tensor | None = None) -> Any:
        """Call the model with log-mels, also a released one that is configured for wav files."""
        alone = len(frames) == 1 and not self.is_ours
        if alone:
            log_mel, frames = (repeat(x, "1 ... -> two ...", two=2) for x in (log_mel, frames))
        flags = () if flag is None else (flag.repeat(2) if alone else flag,)
        with _given_log_mels(self.network):
            logits, mask_feature = self.network(log_mel, frames, *flags)
        return (logits[:1], mask_feature[:1]) if alone else (logits, mask_feature)

    def unpack(self, *args: Any, **kwargs: Any) -> ModelCall:
        """Return the clips of a call `(audio, frames, vid_temporal_mask_flag=None)`.

        Args:
            *args: `audio`: log-mels `[N, 1, 96, 64]`, or for a model that reads sound files a list
                of wav paths, one per clip; `frames`: `[N, 3, H, W]`, normalised; the flag: `[N]`,
                0 for padding.
            **kwargs: The same by name.

        Raises:
            AdapterError: If the model does not accept the arguments, or its clips are of another
                length than `frames_per_clip`.
            MediaError: If a wav file cannot be read.
        """
        arguments = self._bind(args, kwargs)
        audio, frames, flag = (*arguments, None)[:3]
        pictures = self._pictures(frames)
        rows = clip_rows(len(pictures), self.frames_per_clip, flag, self.family)
        log_mel = self._log_mels(audio)
        if self.is_ours:
            check_call(log_mel, frames)
        check_sound_of_call(log_mel, len(pictures), "log-mel example", "AVSegFormer")
        clips = [
            avsbench_clip(
                pictures[clip],
                **_read_sound(audio, clip[0] // self.frames_per_clip),
                log_mel=log_mel[clip].cpu().float(),
            )
            for clip in rows
        ]
        call = ModelCall(clips, rows, len(pictures), arguments)
        call.log_mel = log_mel
        return call

    def _log_mels(self, audio: Any) -> Tensor:
        if isinstance(audio, Tensor):
            return audio
        if self.is_ours:
            return wav_log_mels(audio, self.clip_length)
        with borrow_model(self.network):
            return self.network.vggish._preprocess(audio).detach()

    def _run_rows(self, call: ModelCall, rows: list[int]) -> tuple[list[int], Any]:
        _, frames, flag = (*call.arguments, None)[:3]
        flag = None if flag is None else flag.flatten()[rows]
        assert call.log_mel is not None, "unpack sets it"
        return rows, self._forward(call.log_mel[rows].to(frames), frames[rows], flag)

    def _restore(self, outputs: Any, call: ModelCall) -> Any:
        return outputs


def _given_log_mels(network: Any) -> contextlib.AbstractContextManager[None]:
    """Switch off the reading of wav files, which released AVSS models do themselves."""
    vggish = getattr(network, "vggish", None)
    if getattr(vggish, "preprocess", False):
        return attributes(vggish, preprocess=False)
    return contextlib.nullcontext()


def _read_sound(audio: Any, clip: int) -> dict[str, Any]:
    """Return the audio of a clip as arguments of `Clip`; none for log-mels."""
    if isinstance(audio, Tensor):
        return {}
    from coprop_plugin.media import read_waveform

    waveform, sample_rate = read_waveform(audio[clip])
    return dict(waveform=waveform, sample_rate=sample_rate)
