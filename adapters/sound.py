"""The sound of chosen frames, in the form a wrapped model wants it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from coprop_plugin.audio.log_mel import (
    EXAMPLE_FRAMES,
    EXAMPLE_LEAD_S,
    EXAMPLE_SAMPLES,
    HOP,
    SAMPLE_RATE,
    avsbench_examples,
    clip_log_mel,
)
from coprop_plugin.registry import MODELS, build
from coprop_plugin.types import Clip


def waveform_of(clip: Clip, indices: Sequence[int]) -> Tensor:
    """Return the samples that each frame's VGGish example sees, `[K, 15600]` at 16 kHz.

    Those of the same examples as `clip_log_mel`: with `"avsbench"` sampling the frame of second s
    has those from 0.96 s seconds on; otherwise, from second 10 on, and where a frame listens to
    another time than its own, those that end 0.0375 s after its listening time. Silence where the
    clip has no sound.

    Raises:
        ClipError: If the clip has no waveform.
    """
    frames = torch.as_tensor(list(indices), dtype=torch.long)
    times = clip.listening_times[frames]
    starts = ((times + EXAMPLE_LEAD_S) * SAMPLE_RATE).round().long() - EXAMPLE_SAMPLES
    numbers = avsbench_examples(clip)[frames]
    starts = starts.where(numbers < 0, numbers * (HOP * EXAMPLE_FRAMES))
    # Of hours of sound only what is asked about is looked at.
    first, last = int(starts.min()), int(starts.max()) + EXAMPLE_SAMPLES
    waveform = clip.waveform_at(SAMPLE_RATE, first, last)
    # The earliest example may begin before the sound, the last one end after it.
    waveform = pad(waveform, (max(0, -first), max(0, last - max(0, first) - len(waveform))))
    return waveform[(starts - first)[:, None] + torch.arange(EXAMPLE_SAMPLES)]


class VGGishFeatures(nn.Module):
    """VGGish embeddings of frames, for models that are given them instead of log-mels.

    Args:
        vggish: A module from log-mels `[N, 1, 96, 64]` to embeddings `[N, 128]`, the path of
            weights for ours, or None for the public weights. Loaded when first needed.
        hears: Whether the model has an audio encoder of its own and is given log-mels after all.
    """

    def __init__(self, vggish: nn.Module | str | Path | None = None, hears: bool = False) -> None:
        super().__init__()
        self.weights = None if isinstance(vggish, nn.Module) else vggish
        self.vggish = vggish if isinstance(vggish, nn.Module) else None
        self.form = "log_mel" if hears else "audio_embedding"

    def forward(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Return what is heard in some frames, float32 on the CPU: `[K, 128]` or `[K, 1, 96, 64]`.

        Raises:
            ClipError: If the clip has no sound.
            CheckpointError: If VGGish's weights cannot be had; the message says where to put them.
        """
        if self.form == "log_mel":
            return clip_log_mel(clip, indices)
        if clip.audio_embedding is not None:
            return clip.audio_embedding[list(indices)].float()
        examples = clip_log_mel(clip, indices)
        if self.vggish is None:
            from coprop_plugin.audio.vggish import load_vggish

            self.vggish = load_vggish(self.weights)
        from coprop_plugin.adapters.devices import borrow_model

        with borrow_model(self.vggish) as device:
            return self.vggish(examples.to(device)).float().cpu()

    def of_call(self, audio: Tensor) -> dict[str, Tensor]:
        """Return the sound of a drop-in call, `[T, ...]`, as a `Clip` is given it."""
        return {self.form: audio.detach().cpu().float()}


def build_listener(encoder: str | Mapping[str, Any] | None) -> nn.Module | None:
    """Build the audio encoder of a model of ours, untrained; None for one that has none.

    Raises:
        UnknownNameError: If there is no such encoder.
    """
    return None if encoder is None else build(MODELS, encoder, verb="conv_map")


def embedded(encoder: nn.Module | None, audio: Tensor) -> Tensor:
    """Embed log-mels `[N, 1, 96, 64]` as `[N, E]`; without an encoder they are embeddings."""
    return audio if encoder is None else encoder.embed(encoder.conv_map(audio))
