"""What all ways of asking a language model share: windows, falling back, refining, the log."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from coprop_plugin.control_points.annotations import flags_a_second
from coprop_plugin.control_points.conversation import Conversation
from coprop_plugin.control_points.default import as_provider
from coprop_plugin.control_points.llm.default import as_audio_llm
from coprop_plugin.control_points.long_audio import (
    AudioWindow,
    merged,
    question_spans,
    sound_of,
    windows_of,
)
from coprop_plugin.control_points.prompts import DEFAULT, Prompts
from coprop_plugin.control_points.refining import refined
from coprop_plugin.control_points.snapping import (
    change_frames,
    segment_starts_s,
    states_of_frames,
)
from coprop_plugin.errors import ClipError, ControlPointError, ControlPointParseError
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import AudioLLM, Clip, ControlPoints

Log = dict[str, Any]


class Strategy:
    """A way of asking; arguments and errors are those of `OneStepProvider`."""

    name = ""

    def __init__(
        self,
        llm: AudioLLM | Callable[..., str] | str | Mapping[str, Any],
        *,
        prompts: str | Path = DEFAULT,
        fallback: Any = "novelty",
        refine: bool = True,
        window_s: float | None = 30.0,
        overlap_s: float = 5.0,
    ) -> None:
        if overlap_s < 0 or (window_s is not None and window_s <= 0):
            raise ControlPointError(
                f"Got window_s={window_s} and overlap_s={overlap_s}; wanted seconds above 0, or "
                "window_s=None for as much as the model takes."
            )
        self.llm = as_audio_llm(llm)
        self.prompts = Prompts(prompts)
        self.fallback = None if fallback is None else as_provider(fallback)
        self.refine, self.window_s, self.overlap_s = refine, window_s, overlap_s

    @property
    def settings(self) -> dict[str, Any]:
        """What the flags depend on beside the sound and the model, as JSON."""
        return {
            "strategy": self.name,
            "prompts": self.prompts.version,
            "fallback": None if self.fallback is None else _name_of(self.fallback),
            "refine": self.refine,
            "window_s": self.window_s,
            "overlap_s": self.overlap_s,
        }

    def propose(self, clip: Clip) -> ControlPoints:
        """Ask when the set of sounding objects changes.

        Raises:
            ClipError: If the clip has no waveform, and there is no fallback.
            ControlPointParseError: If an answer cannot be read, and there is no fallback.
            AudioLLMError: If the model cannot be asked.
        """
        log = self._empty_log()
        if clip.waveform is None or not bool(clip.waveform.any()):
            return self._not_asked(clip, log)
        spans = question_spans(clip)
        windows = self._windows(spans)
        about = self.about(clip)
        answers = [self._listen(clip, spans, window, about, log) for window in windows]
        log["calls"] = sum(len(record["conversation"]) for record in log["windows"])
        if windows and all(flags is None for flags in answers):
            return self._fallen_back(clip, log)
        source = self.name
        if None in answers:
            source = f"{self.name}+{self.settings['fallback']}"
            instead = flags_a_second(self.fallback.propose(clip), clip)
            answers = [
                instead[window.start : window.stop] if flags is None else flags
                for window, flags in zip(windows, answers, strict=True)
            ]
        log["flags"] = merged(windows, answers) if windows else [1]
        return self._points(clip, spans, source, log)

    def about(self, clip: Clip) -> Any:
        """Return what `converse` needs to know of the whole clip."""

    def converse(self, conversation: Conversation, about: Any, record: Log) -> list[int]:
        """Ask about one window; returns its flags. What `record` gets, the log keeps."""
        raise NotImplementedError

    def _windows(self, spans: Sequence[tuple[float, float]]) -> list[AudioWindow]:
        if len(spans) == 1:
            # The first frame is a control point whatever it sounds like.
            return []
        limits = (self.window_s, getattr(self.llm, "max_audio_s", None))
        limit_s = min((limit for limit in limits if limit is not None), default=None)
        return windows_of(spans, limit_s, self.overlap_s)

    def _listen(
        self,
        clip: Clip,
        spans: Sequence[tuple[float, float]],
        window: AudioWindow,
        about: Any,
        log: Log,
    ) -> list[int] | None:
        """Return the flags of a window, or None where the fallback has to say."""
        start_s, end_s = spans[window.start][0], spans[window.stop - 1][1]
        sound = sound_of(clip, start_s, end_s)
        conversation = Conversation(self.llm, self.prompts, sound, clip.sample_rate, len(window))
        record: Log = {
            "seconds": [round(start_s, 3), round(end_s, 3)],
            "num_frames": len(window),
            "conversation": conversation.record,
        }
        log["windows"].append(record)
        try:
            return self.converse(conversation, about, record)
        except ControlPointParseError as error:
            if self.fallback is None:
                raise
            log["notes"].append(
                f"{start_s:g} to {end_s:g} s: {error} {self.settings['fallback']} answered instead."
            )
            return None

    def _points(
        self, clip: Clip, spans: Sequence[tuple[float, float]], source: str, log: Log
    ) -> ControlPoints:
        """Return what the flags mean in frames of the clip, and when exactly."""
        starts = [start for start, _ in spans]
        changes_s = [s for s, flag in zip(starts, log["flags"], strict=True) if flag][1:]
        seen = states_of_frames(changes_s, clip)
        known = {}
        if self.refine and changes_s:
            moments = refined(changes_s, clip, reach_s=(spans[0][1] - spans[0][0]) / 2)
            log["refined_s"] = [round(second, 3) for second in moments]
            # Frames as long as those that were asked about are what was answered.
            if clip.num_frames > len(spans):
                seen = states_of_frames(moments, clip)
            stretches = range(len(moments) + 1)
            known["starts_s"] = segment_starts_s(moments, clip, stretches, seen)
        return ControlPoints.from_indices(
            change_frames(seen), clip.num_frames, source, log, **known
        )

    def _not_asked(self, clip: Clip, log: Log) -> ControlPoints:
        silent = clip.waveform is not None
        if self.fallback is None and not silent:
            raise ClipError(
                f"Got a clip without a waveform, about which {self.name} cannot ask a language "
                "model. Use `segment()` with a file or a Clip, or name a `fallback`."
            )
        reason = "is silent throughout" if silent else "has no waveform"
        log["notes"].append(f"The clip {reason}: the language model was not asked.")
        if self.fallback is None:
            return ControlPoints.from_indices([0], clip.num_frames, self.name, log)
        return self._fallen_back(clip, log)

    def _fallen_back(self, clip: Clip, log: Log) -> ControlPoints:
        points = self.fallback.propose(clip)
        return replace(points, log={**log, "fallback_log": dict(points.log)})

    def _empty_log(self) -> Log:
        llm = {
            "client": getattr(self.llm, "name", type(self.llm).__name__),
            "model_id": getattr(self.llm, "model_id", "not said"),
            "settings": dict(getattr(self.llm, "settings", {})),
        }
        return {**self.settings, "llm": llm, "calls": 0, "windows": [], "notes": []}


def _name_of(provider: Any) -> str:
    """Return the shortest name that a provider is registered under."""
    names = [name for name, kind in PROVIDERS.module_dict.items() if kind is type(provider)]
    return min(names, key=len, default=type(provider).__name__)
