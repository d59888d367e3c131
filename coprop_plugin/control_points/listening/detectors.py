"""Sound-event detectors of the transformers package: the probability of each category in time."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from coprop_plugin.audio.resample import resample
from coprop_plugin.control_points.listening.visible_words import Words, columns_of
from coprop_plugin.errors import ControlPointError
from coprop_plugin.layers import device_of

_AT_ONCE = 8
_AST_ROW_S = 0.01


@dataclass(frozen=True)
class Activity:
    """The probability of each category in each row of time.

    Attributes:
        categories: Names of the columns.
        probs: `[rows, categories]` in [0, 1].
        row_s: The length of a row in seconds; row r is r row_s to (r + 1) row_s.
    """

    categories: tuple[str, ...]
    probs: Tensor
    row_s: float


class Detector(Protocol):
    """Estimates the probability of categories over time."""

    model_id: str
    """Its name in logs."""

    def activity(self, waveform: Tensor, sample_rate: int, categories: Words | None) -> Activity:
        """Detect categories in `waveform` [samples].

        Args:
            waveform: `[samples]`.
            sample_rate: In Hz.
            categories: Their names, or names with the detector's labels that mean them; None for
                all that it knows.
        """
        ...


class PeAudioDetector:
    """PE-A-Frame: one embedding every 40 ms, compared with those of any words.

    Args:
        model: A `PeAudioFrameLevelModel`.
        processor: Its `PeAudioProcessor`.
        model_id: Its name in logs.
        chunk_s: Long audio is processed in chunks of this length, so that attention stays small.
        margin_s: Context on both sides of a chunk.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        model_id: str,
        chunk_s: float = 30.0,
        margin_s: float = 2.0,
    ) -> None:
        self.model, self.processor, self.model_id = model, processor, model_id
        self.chunk_s, self.margin_s = chunk_s, margin_s

    @torch.no_grad()
    def activity(self, waveform: Tensor, sample_rate: int, categories: Words | None) -> Activity:
        """Detect categories, which may be any words.

        Raises:
            ControlPointError: If there are none.
        """
        if not categories:
            raise ControlPointError(
                f"{self.model_id} needs categories to detect, got none. Give e.g. "
                "`categories=['dog', 'flute']`, or an `llm` that names them."
            )
        extractor = self.processor.feature_extractor
        rate, hop = extractor.sampling_rate, extractor.hop_length
        waveform = resample(waveform, sample_rate, rate)
        device = device_of(self.model)
        words = self.processor.tokenizer(
            list(categories), padding=True, truncation=True, return_tensors="pt"
        ).to(device)
        chunk, margin = (int(s * rate / hop) * hop for s in (self.chunk_s, self.margin_s))
        rows = []
        for start in range(0, max(len(waveform), 1), chunk):
            first = max(0, start - margin)
            part = waveform[first : start + chunk + margin]
            # The extractor pads by reflection, which needs more samples than it adds.
            part = torch.nn.functional.pad(part, (0, max(0, hop - len(part))))
            inputs = extractor(part.numpy(), sampling_rate=rate, return_tensors="pt").to(device)
            logits = self.model(
                input_ids=words["input_ids"], attention_mask=words["attention_mask"], **inputs
            ).logits_audio_text[0]
            skipped = (start - first) // hop
            rows.append(logits.T[skipped : skipped + chunk // hop].float().sigmoid().cpu())
        return Activity(tuple(categories), torch.cat(rows), hop / rate)


class AstDetector:
    """An audio spectrogram transformer that labels windows at a hop.

    Args:
        model: An `ASTForAudioClassification` with independent labels (multi-label).
        extractor: Its `ASTFeatureExtractor`.
        model_id: Its name in logs.
        hop_s: From window to window.
        window_s: Length of a window; it is padded to the input length of the model.

    Raises:
        ControlPointError: If hop or window are not above 0, or the window is longer than the input
            of the model.
    """

    def __init__(
        self, model: Any, extractor: Any, model_id: str, hop_s: float = 0.25, window_s: float = 1.0
    ) -> None:
        longest_s = extractor.max_length * _AST_ROW_S
        self.hop_s, self.window_s = checked_window(hop_s, window_s, longest_s)
        self.model, self.extractor, self.model_id = model, extractor, model_id

    @torch.no_grad()
    def activity(self, waveform: Tensor, sample_rate: int, categories: Words | None) -> Activity:
        """Detect the labels that match the categories, or all labels.

        Raises:
            ControlPointError: If the model has no label for a category.
        """
        labels = self.model.config.id2label
        columns = columns_of(categories, [labels[n] for n in sorted(labels)], self.model_id)
        rate = self.extractor.sampling_rate
        windows = windows_at_hop(
            resample(waveform, sample_rate, rate), rate, self.hop_s, self.window_s
        )
        device = device_of(self.model)
        rows = []
        for start in range(0, len(windows), _AT_ONCE):
            batch = list(windows[start : start + _AT_ONCE].numpy())
            inputs = self.extractor(batch, sampling_rate=rate, return_tensors="pt").to(device)
            probs = self.model(**inputs).logits.float().sigmoid().cpu()
            rows += [torch.stack([probs[:, c].amax(1) for c in columns.values()], dim=1)]
        return Activity(tuple(columns), torch.cat(rows), self.hop_s)


def checked_window(hop_s: float, window_s: float, longest_s: float) -> tuple[float, float]:
    """Return hop and length of a detector's windows, in seconds.

    Raises:
        ControlPointError: If they are not above 0, or a window is longer than `longest_s`.
    """
    if not (hop_s > 0 and 0 < window_s <= longest_s):
        raise ControlPointError(
            f"Expected hop_s above 0 and window_s up to {longest_s:g} s, got "
            f"hop_s={hop_s} and window_s={window_s}."
        )
    return hop_s, window_s


def windows_at_hop(waveform: Tensor, rate: int, hop_s: float, window_s: float) -> Tensor:
    """Split a waveform into windows, each centred on its hop; silence beyond the ends.

    Args:
        waveform: `[samples]`.
        rate: Its sample rate, in Hz.
        hop_s: From window to window.
        window_s: Length of a window.

    Returns:
        `[ceil(length / hop_s), window_s * rate]`, at least one window.

    Example:
        >>> windows_at_hop(torch.ones(4), rate=2, hop_s=1.0, window_s=2.0).tolist()
        [[0.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]]
    """
    window = max(1, round(window_s * rate))
    count = max(1, math.ceil(len(waveform) / rate / hop_s - 1e-9))
    starts = [round((row + 0.5) * hop_s * rate - window / 2) for row in range(count)]
    before = max(0, -starts[0])
    padded = torch.nn.functional.pad(
        waveform, (before, max(0, starts[-1] + window - len(waveform)))
    )
    return torch.stack([padded[s + before : s + before + window] for s in starts])
