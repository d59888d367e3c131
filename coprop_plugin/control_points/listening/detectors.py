"""Sound-event detectors of the transformers package: how active is each category, and when?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from coprop_plugin.audio.resample import resample
from coprop_plugin.checkpoints.transformers_models import load_pretrained
from coprop_plugin.errors import CheckpointError, ControlPointError
from coprop_plugin.layers.eval_mode import device_of

_AT_ONCE = 8
# Half a minute with what surrounds it: attention of every frame to every other stays small.
_CHUNK_S, _MARGIN_S = 30.0, 2.0


@dataclass(frozen=True)
class Activity:
    """How likely each category sounds, row by row.

    Attributes:
        categories: Names of the columns.
        probs: `[rows, categories]` in [0, 1].
        row_s: The length of a row in seconds; row r is r row_s to (r + 1) row_s.
    """

    categories: tuple[str, ...]
    probs: Tensor
    row_s: float


class Detector(Protocol):
    """Says how likely categories sound, row by row."""

    model_id: str

    def activity(
        self, waveform: Tensor, sample_rate: int, categories: Sequence[str] | None
    ) -> Activity:
        """Listen to `waveform` [samples] for some categories, or for all that it knows."""
        ...


def load_detector(
    source: str | Path,
    hop_s: float = 0.25,
    window_s: float = 1.0,
    local_files_only: bool = False,
    device: torch.device | str | None = None,
) -> Detector:
    """Load a detector by what its config says it is.

    Args:
        source: An id on the hub or a folder, of a PE-A-Frame model ("facebook/pe-a-frame-small")
            or of an audio spectrogram transformer with labels
            ("MIT/ast-finetuned-audioset-10-10-0.4593").
        hop_s: Of the latter.
        window_s: Of the latter.
        local_files_only: Whether to fetch nothing.
        device: Where it is to run; None is the CPU.

    Raises:
        CheckpointError: If there is no such model, or it is of another kind.
        MissingExtraError: If transformers is too old to have its class.
    """
    config = load_pretrained("AutoConfig", source, local_files_only=local_files_only)
    options = dict(local_files_only=local_files_only)
    if config.model_type == "pe_audio":
        model = load_pretrained("PeAudioFrameLevelModel", source, **options).to(device)
        processor = load_pretrained("PeAudioProcessor", source, **options)
        return PeAudioDetector(model, processor, str(source))
    if config.model_type == "audio-spectrogram-transformer":
        model = load_pretrained("ASTForAudioClassification", source, **options).to(device)
        extractor = load_pretrained("ASTFeatureExtractor", source, **options)
        return AstDetector(model, extractor, str(source), hop_s, window_s)
    raise CheckpointError(
        f"Got {str(source)!r}, a model of type {config.model_type!r}; wanted 'pe_audio' "
        "(facebook/pe-a-frame-small) or 'audio-spectrogram-transformer' "
        "(MIT/ast-finetuned-audioset-10-10-0.4593)."
    )


class PeAudioDetector:
    """PE-A-Frame: one embedding every 40 ms, compared with those of any words.

    Args:
        model: A `PeAudioFrameLevelModel`.
        processor: Its `PeAudioProcessor`.
        model_id: What to call it in logs.
    """

    def __init__(self, model: Any, processor: Any, model_id: str) -> None:
        self.model, self.processor, self.model_id = model, processor, model_id

    @torch.no_grad()
    def activity(
        self, waveform: Tensor, sample_rate: int, categories: Sequence[str] | None
    ) -> Activity:
        """Listen for categories, any words.

        Raises:
            ControlPointError: If there are none.
        """
        if not categories:
            raise ControlPointError(
                f"{self.model_id} listens for what it is told, and was told nothing. Name "
                "`categories=['dog', 'flute']`, or give an `llm` to be asked for them."
            )
        extractor = self.processor.feature_extractor
        rate, hop = extractor.sampling_rate, extractor.hop_length
        waveform = resample(waveform, sample_rate, rate)
        device = device_of(self.model)
        words = self.processor.tokenizer(
            list(categories), padding=True, truncation=True, return_tensors="pt"
        ).to(device)
        chunk, margin = (int(s * rate / hop) * hop for s in (_CHUNK_S, _MARGIN_S))
        rows = []
        for start in range(0, max(len(waveform), 1), chunk):
            first = max(0, start - margin)
            heard = waveform[first : start + chunk + margin]
            # The extractor reflects the last row, and needs more than it adds.
            heard = torch.nn.functional.pad(heard, (0, max(0, hop - len(heard))))
            inputs = extractor(heard.numpy(), sampling_rate=rate, return_tensors="pt").to(device)
            logits = self.model(
                input_ids=words["input_ids"], attention_mask=words["attention_mask"], **inputs
            ).logits_audio_text[0]
            skipped = (start - first) // hop
            rows.append(logits.T[skipped : skipped + chunk // hop].float().sigmoid().cpu())
        return Activity(tuple(categories), torch.cat(rows), hop / rate)


class AstDetector:
    """An audio spectrogram transformer that labels windows, moved on by a hop.

    Args:
        model: An `ASTForAudioClassification` whose labels do not exclude one another.
        extractor: Its `ASTFeatureExtractor`.
        model_id: What to call it in logs.
        hop_s: From window to window.
        window_s: Length of a window; what the model takes beyond that is padded.

    Raises:
        ControlPointError: If hop or window are not above 0.
    """

    def __init__(
        self, model: Any, extractor: Any, model_id: str, hop_s: float = 0.25, window_s: float = 1.0
    ) -> None:
        if not (hop_s > 0 and window_s > 0):
            raise ControlPointError(
                f"Got hop_s={hop_s} and window_s={window_s}; wanted seconds, both above 0."
            )
        self.model, self.extractor, self.model_id = model, extractor, model_id
        self.hop_s, self.window_s = hop_s, window_s

    @torch.no_grad()
    def activity(
        self, waveform: Tensor, sample_rate: int, categories: Sequence[str] | None
    ) -> Activity:
        """Listen for the labels that mean the categories, or for all labels.

        Raises:
            ControlPointError: If the model has no label for a category.
        """
        labels = self.model.config.id2label
        names = tuple(categories) if categories else tuple(labels[i] for i in sorted(labels))
        columns = [self._labels_of(name) for name in names]
        rate = self.extractor.sampling_rate
        windows = windows_at_hop(
            resample(waveform, sample_rate, rate), rate, self.hop_s, self.window_s
        )
        device = device_of(self.model)
        rows = []
        for start in range(0, len(windows), _AT_ONCE):
            heard = list(windows[start : start + _AT_ONCE].numpy())
            inputs = self.extractor(heard, sampling_rate=rate, return_tensors="pt").to(device)
            probs = self.model(**inputs).logits.float().sigmoid().cpu()
            rows += [torch.stack([probs[:, c].amax(1) for c in columns], dim=1)]
        return Activity(names, torch.cat(rows), self.hop_s)

    def _labels_of(self, category: str) -> list[int]:
        """Return the labels that hold all words of a category: "dog" means "Dog", "Dog bark"."""
        labels = self.model.config.id2label
        exact = [i for i, label in labels.items() if label.lower() == category.lower()]
        wanted = _words(category)
        found = exact or [i for i, label in labels.items() if wanted and wanted <= _words(label)]
        if not found:
            raise ControlPointError(
                f"Got the category {category!r}, for which {self.model_id} has none of its "
                f"{len(labels)} labels ({', '.join(list(labels.values())[:8])} ...). Name one of "
                "them, or use a PE-A-Frame model, which takes any words."
            )
        return found


def windows_at_hop(waveform: Tensor, rate: int, hop_s: float, window_s: float) -> Tensor:
    """Cut a waveform into windows, one in the middle of each hop; silence beyond its ends.

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


def _words(text: str) -> set[str]:
    letters = "".join(c if c.isalnum() else " " for c in text.lower())
    return set(letters.split())
