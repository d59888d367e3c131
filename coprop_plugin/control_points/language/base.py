"""What all ways of asking a language model share: windows, falling back, refining, the log."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from coprop_plugin.control_points.language.audio_windows import (
    AudioWindow,
    has_sound,
    merged,
    question_spans,
    sound_of,
    windows_of,
)
from coprop_plugin.control_points.language.conversation import Conversation
from coprop_plugin.control_points.language.examples import flags_a_second
from coprop_plugin.control_points.listening.refine import Refiner
from coprop_plugin.control_points.llm.resolve import as_audio_llm
from coprop_plugin.control_points.prompts import DEFAULT, Prompts
from coprop_plugin.control_points.resolve import as_provider
from coprop_plugin.errors import ClipError, ControlPointError, ControlPointParseError
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import AudioLLM, Clip, ControlPoints
from coprop_plugin.types.timeline import (
    change_frames,
    segment_starts_s,
    states_of_frames,
)

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
        *_, (points, _) = self._parts(clip, ahead=False)
        return points

    def propose_ahead(self, clip: Clip) -> Iterator[tuple[ControlPoints, int]]:
        """Ask about one window after the other, for whoever goes on with what is known meanwhile.

        Yields:
            After each answer that settles something, control points, and how many frames from the
            first one on they hold for; at last those of `propose`, which hold for all.

        Raises:
            CopropError: As `propose` does, each when its window is asked about.
        """
        yield from self._parts(clip, ahead=True)

    def _parts(self, clip: Clip, ahead: bool) -> Iterator[tuple[ControlPoints, int]]:
        log = self._empty_log()
        if clip.waveform is None or not has_sound(clip):
            yield self._not_asked(clip, log), clip.num_frames
            return
        spans = question_spans(clip)
        windows = self._windows(spans)
        about = self.about(clip)
        refiner = Refiner(clip, reach_s=(spans[0][1] - spans[0][0]) / 2) if self.refine else None
        instead = cache(lambda: flags_a_second(self.fallback.propose(clip), clip))
        answers: list[list[int] | None] = []
        flags = [1]
        for window, following in zip_longest(windows, windows[1:]):
            answers.append(self._listen(clip, spans, window, about, log))
            if all(answer is None for answer in answers):
                # If it stays like this, the fallback answers for all, in its own way.
                continue
            told = [
                instead()[window.start : window.stop] if answer is None else answer
                for window, answer in zip(windows, answers, strict=False)
            ]
            flags = merged(windows[: len(told)], told)
            if ahead and following is not None:
                yield self._so_far(clip, spans, flags[: following.start + 1], refiner)
        log["calls"] = sum(len(record["conversation"]) for record in log["windows"])
        if windows and all(answer is None for answer in answers):
            yield self._fallen_back(clip, log), clip.num_frames
            return
        source = f"{self.name}+{self.settings['fallback']}" if None in answers else self.name
        log["flags"] = flags
        yield self._points(clip, spans, source, log, refiner), clip.num_frames

    def _so_far(
        self,
        clip: Clip,
        spans: Sequence[tuple[float, float]],
        flags: list[int],
        refiner: Refiner | None,
    ) -> tuple[ControlPoints, int]:
        """Return what flags say that no later answer changes, and for how many frames."""
        log = {"flags": flags + [0] * (len(spans) - len(flags))}
        points = self._points(clip, spans, self.name, log, refiner)
        # The next change may be moved to half a frame before the first one that is not settled.
        until_s = 2 * spans[len(flags)][0] - spans[len(flags)][1]
        settled = int((clip.spans[:, 1] <= until_s).sum())
        return points.up_to(settled), settled

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
        self,
        clip: Clip,
        spans: Sequence[tuple[float, float]],
        source: str,
        log: Log,
        refiner: Refiner | None,
    ) -> ControlPoints:
        """Return what the flags mean in frames of the clip, and when exactly."""
        starts = [start for start, _ in spans]
        changes_s = [s for s, flag in zip(starts, log["flags"], strict=True) if flag][1:]
        seen = states_of_frames(changes_s, clip)
        known = {}
        if refiner is not None and changes_s:
            moments = refiner.moments(changes_s)
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
