"""Log-mels of wav files, as in the released AVSS code."""

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
        paths: One file per clip.
        clip_length: Frames of a clip, and examples of 0.96 s. A shorter file is padded with zeros,
            which differ from the log-mels of silence, but are what the weights were trained with.

    Returns:
        `[(b t), 1, 96, 64]` float32.

    Raises:
        AdapterError: If these are not paths, or a file is longer than a clip.
        MediaError: If a file cannot be read.
    """
    from coprop_plugin.media import read_waveform

    if not isinstance(paths, Sequence) or not all(isinstance(x, str | Path) for x in paths):
        raise AdapterError(
            "Expected audio as log-mels [N, 1, 96, 64], or as a list with the path of one sound "
            f"file per clip, got a {type(paths).__name__}."
        )
    clips = []
    for path in paths:
        examples = log_mel_examples(*read_waveform(path))
        missing = clip_length - len(examples)
        if missing < 0:
            raise AdapterError(
                f"{path} has {len(examples)} examples of 0.96 s, more than the {clip_length} "
                "frames of a clip. Cut the file, or pass log-mels, one per frame."
            )
        clips.append(F.pad(examples, (0, 0, 0, 0, 0, 0, 0, missing)))
    return torch.cat(clips) if clips else torch.zeros(0, 1, 96, 64)
