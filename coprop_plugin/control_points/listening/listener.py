"""Names what sounds, and when: a detector, the words that it is asked for, and thresholds."""

import copy
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coprop_plugin.control_points.language.name_categories import ask_for_categories
from coprop_plugin.control_points.listening.activity_spans import (
    Spans,
    active_spans,
    checked_thresholds,
    rounded_spans,
)
from coprop_plugin.control_points.listening.detector_loading import load_detector
from coprop_plugin.control_points.listening.detectors import Activity, Detector
from coprop_plugin.control_points.listening.mel_rows import waveform_around
from coprop_plugin.control_points.listening.visible_words import Words, words_of
from coprop_plugin.errors import ControlPointError
from coprop_plugin.types import AudioLLM, Clip, ControlPoints, Sounds

Names = Sequence[str] | Callable[[Clip], Sequence[str]]
"""Names of what may sound, or a function that returns those of a clip."""

_SCORE_ROW_S = 0.25
"""The logged scores have no finer rows."""

_SHARE = 0.5
"""Of a segment that a word must sound in to name it."""


@dataclass(frozen=True)
class Heard:
    """What a listener heard in a clip.

    Attributes:
        spans: When each word sounds, in seconds.
        activity: The probability of each word over time.
        start_s: When its first row begins.
        log: How it was found, in JSON types.
    """

    spans: Spans
    activity: Activity
    start_s: float
    log: dict[str, Any] = field(default_factory=dict)

    def between(self, start_s: float, end_s: float) -> tuple[str, ...]:
        """Return the words that name an interval, the one that sounds longest first.

        They sound in at least half of it; if none does, it is the one that sounds longest.

        Example:
            >>> activity = Activity(("dog", "cat"), torch.zeros(1, 2), 1.0)
            >>> heard = Heard({"dog": [(0.0, 2.0)], "cat": [(1.5, 9.0)]}, activity, 0.0)
            >>> heard.between(0, 2), heard.between(0, 5), heard.between(9, 10)
            (('dog',), ('cat',), ())
        """
        seconds = {
            word: sum(max(0.0, min(b, end_s) - max(a, start_s)) for a, b in spans)
            for word, spans in self.spans.items()
        }
        rising = sorted((word for word in seconds if seconds[word] > 0), key=lambda w: -seconds[w])
        long = [w for w in rising if seconds[w] >= _SHARE * (end_s - start_s) - 1e-6]
        return tuple(long or rising[:1])

    def name(self, points: ControlPoints, clip: Clip) -> ControlPoints:
        """Return control points with the words of the segments that they do not name yet."""
        known = points.sounds or Sounds({})
        starts_s = clip.spans[points.indices, 0] if points.starts_s is None else points.starts_s
        ends_s = [*starts_s[1:].tolist(), float(clip.spans[-1, 1])]
        named = {
            t: known.named[t] if t in known.named else self.between(start_s, end_s)
            for t, start_s, end_s in zip(points.indices, starts_s.tolist(), ends_s, strict=True)
        }
        return replace(points, sounds=replace(known, named=named))

    def scores(self) -> dict[str, Any]:
        """Return the probabilities of the words that sound at all, for logs and reports."""
        step = max(1, round(_SCORE_ROW_S / self.activity.row_s))
        shown = [n for n, word in enumerate(self.activity.categories) if self.spans.get(word)]
        rows = [part.amax(0) for part in self.activity.probs[:, shown].split(step)]
        columns = torch.stack(rows).T.tolist() if rows else [[] for _ in shown]
        return {
            "start_s": round(self.start_s, 3),
            "row_s": round(step * self.activity.row_s, 6),
            "words": {
                self.activity.categories[n]: [round(p, 3) for p in column]
                for n, column in zip(shown, columns, strict=True)
            },
        }


class Listener:
    """Names what sounds in a clip, and when.

    A word sounds around the moments at which its probability reaches `threshold`, for as long as it
    stays above `release`. Gaps shorter than 0.5 s are filled, sounds shorter than 0.1 s dropped.

    Args:
        detector: An id or a folder, see `load_detector`; "speech"; or a detector. It is loaded when
            it is first used.
        words: What to listen for: names of visible things, or a function that returns those of a
            clip. None: all of `VISIBLE`, or what `namer` or `llm` names.
        namer: A second detector, which first names the words of the whole clip out of `words`; the
            first one then tells when they sound. For detectors that need a short list of words.
        llm: A language model that names the words of a clip, if there are no `words`.
        threshold: The probability that turns a word on.
        release: The probability below which it is off; None is half of `threshold`.
        hop_s: From window to window, for detectors that label windows.
        window_s: Length of such a window.
        local_files_only: Whether to download nothing.
        device: Device of the detectors; None is the CPU.
        as_labels: Whether words are a detector's own labels; then None is all that it has.

    Raises:
        ControlPointError: If the thresholds are not 0 < release <= threshold < 1, or `words` is a
            text.

    Example:
        >>> listener = Listener("MIT/ast-finetuned-audioset-10-10-0.4593")
        >>> listener.listen(clip).spans["dog"]  # doctest: +SKIP
        [(0.0, 2.0)]
    """

    def __init__(
        self,
        detector: str | Path | Detector,
        words: Names | None = None,
        namer: str | Path | Detector | None = None,
        llm: AudioLLM | None = None,
        threshold: float = 0.3,
        release: float | None = None,
        *,
        hop_s: float = 0.25,
        window_s: float = 1.0,
        local_files_only: bool = False,
        device: torch.device | str | None = None,
        as_labels: bool = False,
    ) -> None:
        if isinstance(words, str):
            raise ControlPointError(
                f"Expected a list of words, e.g. [{words!r}], got the text {words!r}."
            )
        self.threshold, self.release = checked_thresholds(threshold, release)
        self.words: Names | None = words if words is None or callable(words) else tuple(words)
        self.detector, self.namer, self.llm = detector, namer, llm
        self.device, self._as_labels = device, as_labels
        self._loading: dict[str, Any] = dict(
            hop_s=hop_s, window_s=window_s, local_files_only=local_files_only
        )
        self._last: tuple[Any, tuple[float, ...], Heard] | None = None

    def with_words(self, words: Sequence[str]) -> "Listener":
        """Return a listener with the same detectors that listens for these words."""
        other = copy.copy(self)
        other.words, other._last = tuple(words), None
        return other

    def load_models(self) -> None:
        """Load the detectors now; see `LazyPart`."""
        self.detector = self._loaded(self.detector)
        if self.namer is not None:
            self.namer = self._loaded(self.namer)

    def listen(self, clip: Clip) -> Heard:
        """Return what sounds in a clip; listening again to the clip of the last call is free.

        Raises:
            ClipError: If the clip has no waveform.
            CheckpointError: If a detector cannot be loaded.
            ControlPointError: If a detector does not know a word.
        """
        waveform, start_s = waveform_around(clip)
        key = (float(clip.spans[0, 0]), float(clip.spans[-1, 1]), float(clip.sample_rate))
        last = self._last
        if last is not None and last[0]() is clip.waveform and last[1] == key:
            return last[2]
        heard = self._listen(clip, waveform, start_s)
        self._last = weakref.ref(clip.waveform), key, heard
        return heard

    def _listen(self, clip: Clip, waveform: Tensor, start_s: float) -> Heard:
        words, log = self._words(clip, waveform)
        if words is not None and not words:
            return Heard({}, Activity((), torch.zeros(0, 0), 1.0), start_s, log)
        self.detector = detector = self._loaded(self.detector)
        activity = detector.activity(waveform, clip.sample_rate, words)
        spans = active_spans(activity, self.threshold, self.release, start_s)
        log |= {
            "detector": detector.model_id,
            "threshold": self.threshold,
            "release": self.release,
            "spans": rounded_spans(spans),
        }
        heard = Heard(spans, activity, start_s, log)
        log["heard"] = heard.scores()
        return heard

    def _words(self, clip: Clip, waveform: Tensor) -> tuple[Words | None, dict[str, Any]]:
        """Return what to listen for in a clip, None for all labels, and how that was found."""
        log: dict[str, Any] = {}
        names = self.words(clip) if callable(self.words) else self.words
        if names is None and self.llm is not None:
            names, log["conversation"] = ask_for_categories(self.llm, clip)
            log["model_id"] = self.llm.model_id
        if self._as_labels:
            return names, log
        words = words_of(names)
        if self.namer is None:
            return words, log
        self.namer = namer = self._loaded(self.namer)
        activity = namer.activity(waveform, clip.sample_rate, words)
        found = active_spans(activity, self.threshold, self.release)
        log |= {"namer": namer.model_id, "named": [word for word, spans in found.items() if spans]}
        return {word: words[word] for word in log["named"]}, log

    def _loaded(self, source: str | Path | Detector) -> Detector:
        if isinstance(source, str | Path):
            return load_detector(source, device=self.device, **self._loading)
        return source


def as_listener(source: Any, **options: Any) -> Listener:
    """Return a listener as it is, or make one of a detector, its id, its folder, or a config.

    Args:
        source: A `Listener`; the arguments of one as a mapping; or its `detector`.
        **options: Further arguments, which a mapping may override.

    Example:
        >>> as_listener({"detector": "speech", "threshold": 0.5}).threshold
        0.5
    """
    if isinstance(source, Listener):
        return source
    given = dict(source) if isinstance(source, Mapping) else {"detector": source}
    return Listener(**{**options, **given})
