"""The sound of chosen frames, in the form a wrapped model wants it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from coprop_plugin.audio.log_mel import (
    EXAMPLE_FRAMES,
    EXAMPLE_LEAD_S,
    EXAMPLE_SAMPLES,
    HOP,
    SAMPLE_RATE,
    clip_log_mel,
)
from coprop_plugin.types import Clip


def waveform_of(clip: Clip, indices: Sequence[int]) -> Tensor:
    """Return the samples that each frame's VGGish example sees, `[K, 15600]` at 16 kHz.

    With `"avsbench"` sampling those of example t, which starts at 0.96 t seconds; otherwise, and
    where a frame listens to another time than its own, those that end 0.0375 s after its listening
    time. Silence where the clip has no sound.

    Raises:
        ClipError: If the clip has no waveform.
    """
    frames = torch.as_tensor(list(indices), dtype=torch.long)
    times = clip.listening_times[frames]
    starts = ((times + EXAMPLE_LEAD_S) * SAMPLE_RATE).round().long() - EXAMPLE_SAMPLES
    if clip.sampling == "avsbench":
        starts = starts.where(times != clip.times[frames], frames * (HOP * EXAMPLE_FRAMES))
    # Of hours of sound only what is asked about is looked at.
    first, last = int(starts.min()), int(starts.max()) + EXAMPLE_SAMPLES
    waveform = clip.waveform_at(SAMPLE_RATE, first, last)
    # The earliest example may begin before the sound, the last one end after it.
    waveform = pad(waveform, (max(0, -first), max(0, last - max(0, first) - len(waveform))))
    return waveform[(starts - first)[:, None] + torch.arange(EXAMPLE_SAMPLES)]


class Ear(nn.Module):
    """VGGish embeddings of frames, for models that are given them instead of log-mels.

    Args:
        vggish: A module from log-mels `[N, 1, 96, 64]` to embeddings `[N, 128]`, the path of
            weights for ours, or None for the public weights. Loaded when first needed.
    """

    def __init__(self, vggish: nn.Module | str | Path | None = None) -> None:
        super().__init__()
        self.weights = None if isinstance(vggish, nn.Module) else vggish
        self.vggish = vggish if isinstance(vggish, nn.Module) else None

    def forward(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Return the embeddings of some frames, `[K, 128]` float32 on the CPU.

        Raises:
            ClipError: If the clip has no sound.
            CheckpointError: If VGGish's weights cannot be had; the message says where to put them.
        """
        if clip.audio_embedding is not None:
            return clip.audio_embedding[list(indices)].float()
        examples = clip_log_mel(clip, indices)
        if self.vggish is None:
            from coprop_plugin.audio.vggish import load_vggish

            self.vggish = load_vggish(self.weights)
        from coprop_plugin.adapters.devices import lent

        with lent(self.vggish) as device:
            return self.vggish(examples.to(device)).float().cpu()
