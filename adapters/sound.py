"""Audio of frames in the form that a wrapped model takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from coprop_plugin.adapters.devices import borrow_model, dtype_of
from coprop_plugin.audio.audio_encoders import build_audio_encoder
from coprop_plugin.audio.log_mel import (
    EXAMPLE_FRAMES,
    EXAMPLE_LEAD_S,
    EXAMPLE_SAMPLES,
    HOP,
    SAMPLE_RATE,
    avsbench_examples,
    clip_log_mel,
    warn_of_fixed_audio,
)
from coprop_plugin.errors import AdapterError
from coprop_plugin.types import AVSBENCH_INSTANT_S, AudioEncoder, Clip


def waveform_of(clip: Clip, indices: Sequence[int]) -> Tensor:
    """Return the samples of each frame's VGGish example, `[K, 15600]` at 16 kHz.

    The examples are those of `clip_log_mel`: with `"avsbench"` sampling, the frame of second s has
    the samples from 0.96 s on; otherwise, from second 10 on, and where a frame's listening time is
    not its own, the samples that end 0.0375 s after its listening time. Zeros outside the waveform.

    Raises:
        ClipError: If the clip has no waveform.
    """
    frames = torch.as_tensor(list(indices), dtype=torch.long)
    times = clip.listening_times[frames]
    starts = ((times + EXAMPLE_LEAD_S) * SAMPLE_RATE).round().long() - EXAMPLE_SAMPLES
    numbers = avsbench_examples(clip)[frames]
    starts = starts.where(numbers < 0, numbers * (HOP * EXAMPLE_FRAMES))
    return _samples(clip, starts, EXAMPLE_SAMPLES)


def seconds_of(clip: Clip, indices: Sequence[int]) -> Tensor:
    """Return the samples of each frame's whole second of sound, `[K, 16000]` at 16 kHz.

    AVSBench takes frame n at n + 15/16 s, and its second is the one from n s on; so at any other
    time, a frame has the second that ends 1/16 s after its listening time. Zeros outside the
    waveform.

    Raises:
        ClipError: If the clip has no waveform.
    """
    times = clip.listening_times[list(indices)]
    starts = ((times - AVSBENCH_INSTANT_S) * SAMPLE_RATE).round().long()
    return _samples(clip, starts, SAMPLE_RATE)


def _samples(clip: Clip, starts: Tensor, length: int) -> Tensor:
    """Return `length` samples at 16 kHz from each of `starts` on; zeros outside the waveform."""
    # Only the requested part of a long waveform is read.
    first, last = int(starts.min()), int(starts.max()) + length
    waveform = clip.waveform_at(SAMPLE_RATE, first, last)
    # The earliest may begin before the sound, the last one end after it.
    waveform = pad(waveform, (max(0, -first), max(0, last - max(0, first) - len(waveform))))
    return waveform[(starts - first)[:, None] + torch.arange(length)]


class VGGishFeatures(nn.Module):
    """VGGish embeddings of frames, for models that are given them instead of log-mels.

    Args:
        vggish: A module from log-mels `[N, 1, 96, 64]` to embeddings `[N, 128]`, the path of
            weights for ours, or None for the public weights. Loaded when first needed.
        model_has_audio_encoder: Whether the model has an audio encoder of its own, and so takes
            log-mels.
    """

    def __init__(
        self,
        vggish: nn.Module | str | Path | None = None,
        model_has_audio_encoder: bool = False,
    ) -> None:
        super().__init__()
        self.weights = None if isinstance(vggish, nn.Module) else vggish
        self.vggish = vggish if isinstance(vggish, nn.Module) else None
        self.form = "log_mel" if model_has_audio_encoder else "audio_embedding"

    def forward(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Return embeddings `[K, 128]` or log-mels `[K, 1, 96, 64]`, float32 on the CPU.

        A clip's own embeddings are used as they are, wherever its audio windows are.

        Warns:
            ClipWarning: If an audio window is at another time than its frame.

        Raises:
            ClipError: If the clip has no audio.
            CheckpointError: If VGGish's weights cannot be loaded; the message says where to put
                them.
        """
        if self.form == "log_mel":
            return clip_log_mel(clip, indices)
        rows = list(indices)
        if clip.audio_embedding is not None:
            if bool((clip.listening_times[rows] != clip.times[rows]).any()):
                warn_of_fixed_audio("audio embeddings")
            return clip.audio_embedding[rows].float()
        examples = clip_log_mel(clip, indices)
        if self.vggish is None:
            from coprop_plugin.audio.vggish import load_vggish

            self.vggish = load_vggish(self.weights)
        with borrow_model(self.vggish) as device:
            dtype = dtype_of(self.vggish)
            return self.vggish(examples.to(device, dtype)).float().cpu()

    def of_call(self, audio: Tensor) -> dict[str, Any]:
        """Return the audio of a drop-in call, `[T, ...]`, as arguments of a `Clip`."""
        return {self.form: audio.detach().cpu().float()}


def optional_audio_encoder(encoder: str | Mapping[str, Any] | None) -> AudioEncoder | None:
    """Build the untrained audio encoder of a model of ours; None for a model without one.

    Raises:
        UnknownNameError: If there is no such encoder.
    """
    return None if encoder is None else build_audio_encoder(encoder)


def check_sound_of_call(
    sound: Any, num_frames: int, expected: str, family: str, ndim: int | None = None
) -> None:
    """Refuse the sound of a wrapped model's own call unless it is a row for each frame.

    Args:
        sound: What came, a tensor `[T, ...]` if it is right.
        num_frames: Of the call, T.
        expected: What a row is, for the message.
        family: Name of the model, for the message.
        ndim: Dimensions that it must have; None for any.

    Raises:
        AdapterError: If it is something else.
    """
    if isinstance(sound, Tensor) and len(sound) == num_frames and ndim in (None, sound.ndim):
        return
    came = list(sound.shape) if isinstance(sound, Tensor) else type(sound).__name__
    raise AdapterError(
        f"Expected one {expected} per frame in a call of {family}, got audio {came} for "
        f"{num_frames} frames."
    )


def embedded(encoder: AudioEncoder | None, audio: Tensor) -> Tensor:
    """Embed log-mels `[N, 1, 96, 64]` as `[N, E]`; without an encoder `audio` is embedded."""
    return audio if encoder is None else encoder.embed(encoder.conv_map(audio))
