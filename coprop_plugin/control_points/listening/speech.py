"""Speech, found by silero-vad: a small network whose weights come with its package."""

from torch import Tensor

from coprop_plugin.audio.silero import HOP_S, speech_probs
from coprop_plugin.control_points.listening.detectors import Activity
from coprop_plugin.control_points.listening.visible_words import Words, columns_of

SPEECH = "speech"
"""The name of this detector, in place of an id or a folder."""


class SpeechDetector:
    """The probability of speech, every 32 ms, by silero-vad (MIT licence; no download).

    It knows one label, "Speech", which is also the word "person".
    """

    model_id = "silero-vad"

    def activity(self, waveform: Tensor, sample_rate: int, categories: Words | None) -> Activity:
        """Detect speech.

        Raises:
            ControlPointError: If another category is asked for.
            MissingExtraError: If silero-vad is not installed.
        """
        names = tuple(columns_of(categories, ("Speech",), self.model_id))
        probs = speech_probs(waveform, sample_rate)[:, None]
        return Activity(names, probs.repeat(1, len(names)), HOP_S)
