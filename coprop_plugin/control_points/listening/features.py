"""Audio features: one vector per frame of a clip, and one (timbre) for a whole waveform."""

import numpy as np
import torch
from torch import Tensor, nn

from coprop_plugin.audio.log_mel import SILENCE, clip_log_mel, log_mel
from coprop_plugin.types import Clip

EMBEDDING = "log_mel"
"""The name of `timbre` in example stores."""

# Examples per VGGish call: a minute of video at 25 frames per second has 1500.
_EXAMPLES_AT_ONCE = 32


def frame_features(clip: Clip, vggish: nn.Module | None = None) -> Tensor:
    """Return one vector per frame for the audio around it, never negative, 0 for silence.

    The VGGish embedding, if the clip has it or a network is given; else the log-mels of the
    frame's example, averaged over time, minus those of digital silence.

    Args:
        clip: A clip with a waveform, log-mels or embeddings.
        vggish: A `coprop_plugin.audio.vggish.VGGish`.

    Returns:
        `[T, 128]` embeddings, or `[T, 64]` log-mels; float32.

    Raises:
        ClipError: If the clip has no audio in any form.

    Example:
        >>> frame_features(Clip(torch.rand(3, 3, 8, 8), torch.zeros(48_000))).shape
        torch.Size([3, 64])
    """
    if clip.audio_embedding is not None:
        return clip.audio_embedding.detach().float()
    examples = clip_log_mel(clip)
    if vggish is None:
        return (examples.mean(dim=(1, 2)) - SILENCE).clamp_min(0)
    return embedded(examples, vggish)


@torch.no_grad()
def embedded(examples: Tensor, vggish: nn.Module) -> Tensor:
    """Embed VGGish examples [N, 1, 96, 64] in bounded batches; returns [N, 128]."""
    return torch.cat([vggish(part).float() for part in examples.split(_EXAMPLES_AT_ONCE)])


def consecutive_similarity(features: Tensor) -> Tensor:
    """Return the cosine similarity of each row with the one before, `[T - 1]`, in [-1, 1].

    Of two silent rows (all 0) it is 1, of a silent and another row 0.

    Example:
        >>> consecutive_similarity(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]])).tolist()
        [1.0, 0.0]
    """
    before, after = features[:-1], features[1:]
    similarity = torch.cosine_similarity(before, after, dim=1)
    both_silent = (before.abs().amax(1) == 0) & (after.abs().amax(1) == 0)
    return torch.where(both_silent, torch.ones_like(similarity), similarity)


def timbre(waveform: Tensor, sample_rate: int) -> tuple[float, ...]:
    """Return 128 numbers that describe the spectrum of a waveform, a vector of length 1.

    Mean and deviation over time of each of the 64 log-mel bands, minus the overall level. It
    distinguishes a flute from an engine at almost no cost; it is not a trained embedding.

    Args:
        waveform: `[samples]`, float in [-1, 1].
        sample_rate: In Hz.

    Returns:
        128 numbers; none for less than 25 ms of audio.
    """
    rows = log_mel(waveform, sample_rate).double().cpu().numpy()
    if not len(rows):
        return ()
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    vector = np.concatenate([mean - mean.mean(), deviation - deviation.mean()])
    return tuple((vector / max(float(np.linalg.norm(vector)), 1e-9)).round(4).tolist())
