"""Speech, found by silero-vad: a small network whose weights come with its package."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from coprop_plugin.audio.resample import resample
from coprop_plugin.control_points.listening.detectors import Activity
from coprop_plugin.control_points.listening.visible_words import Words, columns_of
from coprop_plugin.errors import MissingExtraError

SPEECH = "speech"
"""The name of this detector, in place of an id or a folder."""

_RATE, _HOP = 16_000, 512


class SpeechDetector:
    """The probability of speech, every 32 ms, by silero-vad (MIT licence; no download).

    It knows one label, "Speech", which is also the word "person".
    """

    model_id = "silero-vad"

    @cached_property
    def _network(self) -> Any:
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

    @torch.no_grad()
    def activity(self, waveform: Tensor, sample_rate: int, categories: Words | None) -> Activity:
        """Detect speech.

        Raises:
            ControlPointError: If another category is asked for.
            MissingExtraError: If silero-vad is not installed.
        """
        names = tuple(columns_of(categories, ("Speech",), self.model_id))
        waveform = resample(waveform, sample_rate, _RATE)
        waveform = torch.nn.functional.pad(waveform, (0, max(0, _HOP - len(waveform))))
        self._network.reset_states()
        probs = self._network.audio_forward(waveform, _RATE).reshape(-1, 1).float()
        return Activity(names, probs.repeat(1, len(names)), _HOP / _RATE)
