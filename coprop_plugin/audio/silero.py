"""Speech, found by silero-vad: a small network whose weights come with its package."""

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from threading import Lock
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.audio.log_mel import EXAMPLE_LEAD_S
from coprop_plugin.audio.resample import resample
from coprop_plugin.errors import MissingExtraError
from coprop_plugin.types import Clip

_RATE, _HOP = 16_000, 512
HOP_S = _HOP / _RATE
"""Seconds from one probability to the next."""

_HEARD_S, _BEFORE_S = 1.0, 1.0
_network_in_use = Lock()


@torch.no_grad()
def speech_probs(waveform: Tensor, sample_rate: int) -> Tensor:
    """Return the probability of speech every 32 ms, by silero-vad (MIT licence; no download).

    Args:
        waveform: `[samples]`, float in [-1, 1].
        sample_rate: Its sample rate in Hz.

    Returns:
        `[N]` float32, at least one.

    Raises:
        MissingExtraError: If silero-vad is not installed.
    """
    network = _silero()
    waveform = resample(waveform, sample_rate, _RATE)
    waveform = F.pad(waveform, (0, max(0, _HOP - len(waveform))))
    with _network_in_use:  # It remembers what it heard last.
        network.reset_states()
        return network.audio_forward(waveform, _RATE).flatten().float()


def speech_is_found() -> bool:
    """Whether silero-vad is installed."""
    return find_spec("silero_vad") is not None


def speech_at(clip: Clip, indices: Sequence[int]) -> Tensor:
    """Return the share of speech in the second of audio of each of the given frames.

    The second before is heard, too, so that the network knows the voice. A frame's share does not
    depend on the other frames.

    Args:
        clip: A clip with a waveform.
        indices: K frame indices.

    Returns:
        `[K]` float32, mean probabilities.

    Raises:
        ClipError: If the clip has no waveform, or an index lies outside it.
        MissingExtraError: If silero-vad is not installed.
    """
    shares = []
    for end_s in (clip.listening_times[clip.checked(indices)] + EXAMPLE_LEAD_S).tolist():
        stop = round(end_s * _RATE)
        start = max(0, stop - round((_HEARD_S + _BEFORE_S) * _RATE))
        probs = speech_probs(clip.waveform_at(_RATE, start, stop), _RATE)
        shares.append(probs[-round(_HEARD_S / HOP_S) :].mean())
    return torch.stack(shares) if shares else torch.zeros(0)


@lru_cache(maxsize=1)
def _silero() -> Any:
    threads = torch.get_num_threads()
    try:
        from silero_vad import load_silero_vad
    except ImportError as error:
        raise MissingExtraError(
            f"Speech is found by silero-vad, which is not installed ({error}). Run `pip "
            "install silero-vad` (11 MB, weights included)."
        ) from error
    finally:
        # Importing it leaves the whole process with one thread.
        torch.set_num_threads(threads)
    return load_silero_vad()
