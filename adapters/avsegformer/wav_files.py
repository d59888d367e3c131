"""Wav files, heard as the released AVSS code hears them."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.audio.log_mel import log_mel_examples
from coprop_plugin.errors import AdapterError


def wav_log_mels(paths: Sequence[str | Path], clip_length: int) -> Tensor:
    """Return the log-mels of some clips' sound files.

    Args:
        paths: One file a clip.
        clip_length: Frames of a clip, and examples of 0.96 s. A shorter sound is followed by
            zeros, which is not what silence looks like, but what the weights were trained with.

    Returns:
        `[(b t), 1, 96, 64]` float32.

    Raises:
        AdapterError: If these are no paths, or a sound is longer than a clip.
        MediaError: If a file cannot be read.
    """
    from coprop_plugin.media import read_waveform

    if not isinstance(paths, Sequence) or not all(isinstance(x, str | Path) for x in paths):
        raise AdapterError(
            f"Got a {type(paths).__name__} as the sound of some frames; wanted log-mels "
            "[N, 1, 96, 64], or a list with the path of one sound file a clip."
        )
    clips = []
    for path in paths:
        examples = log_mel_examples(*read_waveform(path))
        missing = clip_length - len(examples)
        if missing < 0:
            raise AdapterError(
                f"Got {path} with {len(examples)} examples of 0.96 s for a clip of {clip_length} "
                "frames. Cut the sound, or give its log-mels, one a frame."
            )
        clips.append(F.pad(examples, (0, 0, 0, 0, 0, 0, 0, missing)))
    return torch.cat(clips) if clips else torch.zeros(0, 1, 96, 64)
