"""How alike two sounds are, roughly: without a network, and without training."""

import numpy as np
from torch import Tensor

from coprop_plugin.audio.log_mel import log_mel

EMBEDDING = "log_mel"
"""The name of `timbre` in stores."""


def timbre(waveform: Tensor, sample_rate: int) -> tuple[float, ...]:
    """Return 128 numbers that say what a sound is like, a vector of length 1.

    Mean and deviation over time of each of the 64 log-mel bands, the overall level taken out. It
    tells a flute from an engine, and costs next to nothing; it is no trained embedding.

    Args:
        waveform: `[samples]`, float in [-1, 1].
        sample_rate: In Hz.

    Returns:
        128 numbers; none for less than 25 ms of sound.
    """
    rows = log_mel(waveform, sample_rate).double().cpu().numpy()
    if not len(rows):
        return ()
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    vector = np.concatenate([mean - mean.mean(), deviation - deviation.mean()])
    return tuple((vector / max(float(np.linalg.norm(vector)), 1e-9)).round(4).tolist())
