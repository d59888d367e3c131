"""Control points from sound-event detection: where the set of active categories changes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from coprop_plugin.control_points.language.name_categories import ask_for_categories
from coprop_plugin.control_points.listening.detectors import Activity, Detector, load_detector
from coprop_plugin.control_points.listening.mel_rows import waveform_around
from coprop_plugin.control_points.listening.silence import SHORTEST_PAUSE_S, SHORTEST_SOUND_S, runs
from coprop_plugin.control_points.llm.resolve import LLMSource, as_audio_llm
from coprop_plugin.errors import ControlPointError
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import Clip, ControlPoints
from coprop_plugin.types.timeline import (
    change_frames,
    segment_starts_s,
    states_of_frames,
)

_LEAST_ROW_S = 1e-6
Categories = Sequence[str] | Callable[[Clip], Sequence[str]]
"""Names of categories, or a function that returns those of a clip."""


@PROVIDERS.register_module(name=["SoundEventProvider", "sed"])
class SoundEventProvider:
    """Control points where the set of categories that a detector finds changes.

    Each category is active around the moments at which its probability reaches `threshold`, for as
    long as it stays above `release` (two thresholds, so that it does not flicker). Gaps shorter
    than 0.5 s are filled, activity shorter than 0.1 s is dropped. Frames are never marked silent: a
    detector does not know every sound.

    Args:
        detector: An id or a folder, see `load_detector`; or a detector. It is loaded when it is
            first used.
        categories: The categories to detect: names, or a function that returns those of a clip.
            None: those that `llm` names; without `llm`, all labels of an audio spectrogram
            transformer. PE-A-Frame needs categories.
        llm: Language model that names the categories of each clip if `categories` is None: an
            `AudioLLM`, its registered name, its config, or a function. If it names none, there is
            one segment.
        threshold: The probability that turns a category on. Released models are calibrated for
            0.3 to 0.5.
        release: The probability below which it is off; None is half of `threshold`.
        hop_s: From window to window, for detectors that label windows.
        window_s: Length of such a window.
        local_files_only: Whether to download nothing.
        device: Device of the detector; None is the CPU.

    Raises:
        ControlPointError: If the thresholds are not 0 < release <= threshold < 1.

    Example:
        >>> provider = SoundEventProvider("facebook/pe-a-frame-small", ["dog", "violin"])
        >>> provider.propose(clip).log["spans"]  # doctest: +SKIP
        {'dog': [[0.0, 2.04]], 'violin': [[1.96, 5.0]]}
    """

    def __init__(
        self,
        detector: str | Path | Detector = "facebook/pe-a-frame-small",
        categories: Categories | None = None,
        llm: LLMSource | None = None,
        threshold: float = 0.3,
        release: float | None = None,
        *,
        hop_s: float = 0.25,
        window_s: float = 1.0,
        local_files_only: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        release = threshold / 2 if release is None else release
        if not 0 < release <= threshold < 1:
            raise ControlPointError(
                "Expected probabilities 0 < release <= threshold < 1, got "
                f"threshold={threshold} and release={release}."
            )
        if isinstance(categories, str):
            raise ControlPointError(
                f"Expected a list of names as categories, e.g. [{categories!r}], got the text "
                f"{categories!r}."
            )
        self.detector, self.categories = detector, categories
        self.llm = None if llm is None else as_audio_llm(llm)
        self.threshold, self.release = threshold, release
        self._loading: Mapping[str, Any] = dict(
            hop_s=hop_s, window_s=window_s, local_files_only=local_files_only, device=device
        )

    def propose(self, clip: Clip) -> ControlPoints:
        """Return the frames at which the set of active categories changes.

        Raises:
            ClipError: If the clip has no waveform.
            CheckpointError: If the detector cannot be loaded.
            ControlPointError: If a detector that needs categories has none.
            AudioLLMError: If the language model gives no answer.
            ControlPointParseError: If its answer names no categories.
        """
        waveform, start_s = waveform_around(clip)
        if isinstance(self.detector, str | Path):
            self.detector = load_detector(self.detector, **self._loading)
        names = self.categories(clip) if callable(self.categories) else self.categories
        log: dict[str, Any] = {}
        if names is None and self.llm is not None:
            names, log["conversation"] = ask_for_categories(self.llm, clip)
            log["model_id"] = self.llm.model_id
            if not names:
                return ControlPoints.from_indices([0], clip.num_frames, "sed", log)
        activity = self.detector.activity(waveform, clip.sample_rate, names)
        spans = active_spans(activity, self.threshold, self.release, start_s)
        boundaries, states = _sets(spans)
        seen = states_of_frames(boundaries, clip, states)
        log |= {
            "detector": self.detector.model_id,
            "threshold": self.threshold,
            "release": self.release,
            "spans": {
                name: [[round(s, 3) for s in span] for span in found]
                for name, found in spans.items()
                if found
            },
        }
        starts_s = segment_starts_s(boundaries, clip, states, seen)
        frames = change_frames(seen)
        return ControlPoints.from_indices(frames, clip.num_frames, "sed", log, starts_s=starts_s)


def active_spans(
    activity: Activity, threshold: float, release: float, start_s: float = 0.0
) -> dict[str, list[tuple[float, float]]]:
    """Return the spans of time in which each category is active.

    Args:
        activity: The probabilities from a detector.
        threshold: The probability that must be reached within a span.
        release: The probability that must be kept throughout a span.
        start_s: Start of the first row.

    Returns:
        Half-open spans in seconds for every category, rising.

    Example:
        >>> probs = torch.tensor([0.1, 0.3, 0.9, 0.3, 0.1, 0.3])[:, None]
        >>> active_spans(Activity(("dog",), probs, row_s=1.0), threshold=0.5, release=0.2)
        {'dog': [(1.0, 4.0)]}
    """
    row_s = activity.row_s
    spans = {}
    for name, column in zip(activity.categories, activity.probs.T.numpy(), strict=True):
        found = [run for run in runs(column >= release) if column[slice(*run)].max() >= threshold]
        spans[name] = [
            (start_s + a * row_s, start_s + b * row_s)
            for a, b in _joined(found, SHORTEST_PAUSE_S / row_s)
            if (b - a) * row_s > SHORTEST_SOUND_S - _LEAST_ROW_S
        ]
    return spans


def _joined(found: list[tuple[int, int]], shortest_gap: float) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, stop in found:
        if joined and start - joined[-1][1] < shortest_gap:
            start = joined.pop()[0]
        joined.append((start, stop))
    return joined


def _sets(
    spans: Mapping[str, Sequence[tuple[float, float]]],
) -> tuple[list[float], list[frozenset[str]]]:
    """Return the times at which the set of active names may change, and the set around each."""
    edges = sorted({edge for found in spans.values() for span in found for edge in span})

    def active_from(edge: float) -> frozenset[str]:
        return frozenset(
            name for name, found in spans.items() if any(a <= edge < b for a, b in found)
        )

    return edges, [frozenset(), *(active_from(edge) for edge in edges)]
