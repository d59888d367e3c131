"""CLAP as a detector of any words: windows of audio compared with phrases."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from coprop_plugin.audio.resample import resample
from coprop_plugin.control_points.listening.detectors import (
    Activity,
    checked_window,
    windows_at_hop,
)
from coprop_plugin.control_points.listening.visible_words import Words
from coprop_plugin.errors import ControlPointError
from coprop_plugin.layers import device_of

_AT_ONCE = 16
_NONE = ("silence", "background noise")
_PHRASE = "This is the sound of {}"


class ClapDetector:
    """CLAP (Wu et al., arXiv:2211.06687v4) without training: which of some words a window is.

    Each word stands alone against phrases for "none of them", so that several may sound at once:
    its probability is that of a softmax over the word and the likelier of "silence" and
    "background noise". It is not calibrated; PE-A-Frame's is.

    Args:
        model: A `ClapModel`.
        extractor: Its `ClapFeatureExtractor`.
        tokenizer: Its tokenizer.
        model_id: Its name in logs.
        hop_s: From window to window.
        window_s: Length of a window, at most ten seconds.
    """

    def __init__(
        self,
        model: Any,
        extractor: Any,
        tokenizer: Any,
        model_id: str,
        hop_s: float = 0.25,
        window_s: float = 1.0,
    ) -> None:
        self.hop_s, self.window_s = checked_window(hop_s, window_s, longest_s=10.0)
        self.model, self.extractor, self.tokenizer = model, extractor, tokenizer
        self.model_id = model_id

    @torch.no_grad()
    def activity(self, waveform: Tensor, sample_rate: int, categories: Words | None) -> Activity:
        """Detect categories, which may be any words.

        Raises:
            ControlPointError: If there are none.
        """
        if not categories:
            raise ControlPointError(
                f"{self.model_id} needs words to detect, got none. Give e.g. ['dog', 'flute']."
            )
        names, rate = tuple(categories), self.extractor.sampling_rate
        phrases = self._phrases([*names, *_NONE])
        waveform = resample(waveform, sample_rate, rate)
        windows = windows_at_hop(waveform, rate, self.hop_s, self.window_s)
        rows = []
        for start in range(0, len(windows), _AT_ONCE):
            inputs = self.extractor(
                list(windows[start : start + _AT_ONCE].numpy()),
                sampling_rate=rate,
                return_tensors="pt",
            ).to(device_of(self.model))
            # For models that fuse crops, the extractor marks a random window of a batch as longer.
            inputs["is_longer"] = torch.zeros_like(inputs["is_longer"], dtype=torch.bool)
            sound = normalize(self.model.get_audio_features(**inputs).pooler_output, dim=-1)
            rows.append((sound @ phrases.T * self.model.logit_scale_a.exp()).float().cpu())
        scores = torch.cat(rows)
        none = scores[:, len(names) :].amax(1, keepdim=True)
        return Activity(names, (scores[:, : len(names)] - none).sigmoid(), self.hop_s)

    def _phrases(self, words: Sequence[str]) -> Tensor:
        """Embed words, `[N, D]`, each row of length 1."""
        text = [_PHRASE.format(word) for word in words]
        inputs = self.tokenizer(text, padding=True, truncation=True, return_tensors="pt")
        device = device_of(self.model)
        ids, attended = inputs["input_ids"].to(device), inputs["attention_mask"].to(device)
        features = self.model.get_text_features(input_ids=ids, attention_mask=attended)
        return normalize(features.pooler_output, dim=-1)
