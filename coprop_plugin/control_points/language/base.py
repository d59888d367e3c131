"""The common part of all language-model strategies: windows, fallback, refinement, log."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from torch import Tensor

from coprop_plugin.control_points.language.audio_windows import (
    AudioWindow,
    audio_between,
    has_sound,
    merged,
    question_spans,
    windows_of,
)
from coprop_plugin.control_points.language.conversation import Conversation
from coprop_plugin.control_points.language.examples import flags_a_second
from coprop_plugin.control_points.listening.refine import Refiner
from coprop_plugin.control_points.llm.resolve import LLMSource, as_audio_llm
from coprop_plugin.control_points.prompts import DEFAULT, Prompts
from coprop_plugin.control_points.resolve import ProviderSource, as_provider
from coprop_plugin.errors import (
    ClipError,
    ControlPointError,
    ControlPointParseError,
    CutOffAnswerError,
)
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import Clip, ControlPointProvider, ControlPoints
from coprop_plugin.types.timeline import (
    change_frames,
    segment_starts_s,
    states_of_frames,
)

Log = dict[str, Any]


class Strategy:
    """Base class of the strategies; arguments and errors are those of `OneStepProvider`.

    A strategy defines `name` and `converse`, and `query` if it needs one.
    """

    name = ""

    def __init__(
        self,
        llm: LLMSource,
        *,
        prompts: str | Path = DEFAULT,
        fallback: ProviderSource | None = "novelty",
        refine: bool = True,
        window_s: float | None = 30.0,
        overlap_s: float = 5.0,
    ) -> None:
        if overlap_s < 0 or (window_s is not None and window_s <= 0):
            raise ControlPointError(
                "Expected window_s above 0 (None: as much as the model takes) and overlap_s of 0 "
                f"or more, got window_s={window_s} and overlap_s={overlap_s}."
            )
        self.llm = as_audio_llm(llm)
        self.prompts = Prompts(prompts)
        self.fallback = None if fallback is None else as_provider(fallback)
        self.refine, self.window_s, self.overlap_s = refine, window_s, overlap_s

    @property
    def providers(self) -> Sequence[ControlPointProvider]:
        """The providers that it calls: the fallback."""
        return [] if self.fallback is None else [self.fallback]

    @property
    def settings(self) -> dict[str, Any]:
        """What the flags depend on besides the audio and the model, as JSON."""
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
            CutOffAnswerError: If an answer is too long, and there is no fallback.
            AudioLLMError: If the model gives no answer.
        """
        *_, (points, _) = self._parts(clip, ahead=False)
        return points

    def propose_ahead(self, clip: Clip) -> Iterator[tuple[ControlPoints, int]]:
        """Ask about one window after the other, so that a stream can begin before the last answer.

        Yields:
            After each answer that makes more frames final, the control points so far and the
            number of final frames; at last those of `propose`, final for all frames.

        Raises:
            CopropError: As `propose`, when the window in question is reached.
        """
        yield from self._parts(clip, ahead=True)

    def _parts(self, clip: Clip, ahead: bool) -> Iterator[tuple[ControlPoints, int]]:
        log = self._empty_log()
        if clip.waveform is None or not has_sound(clip.waveform):
            yield self._not_asked(clip, log), clip.num_frames
            return
        spans = question_spans(clip)
        windows = self._windows(spans)
        query = self.query(clip)
        refiner = Refiner(clip, reach_s=(spans[0][1] - spans[0][0]) / 2) if self.refine else None
        fallback = cache(lambda: flags_a_second(self._propose_fallback(clip), clip))
        answers: list[list[int] | None] = []
        flags = [1]
        for window, following in zip_longest(windows, windows[1:]):
            answers.append(self._ask_about(clip, clip.waveform, spans, window, query, log))
            if all(answer is None for answer in answers):
                # As long as this holds, the control points may be those of the fallback alone.
                continue
            known = [
                fallback()[window.start : window.stop] if answer is None else answer
                for window, answer in zip(windows, answers, strict=False)
            ]
            flags = merged(windows[: len(known)], known)
            if ahead and following is not None:
                yield self._so_far(clip, spans, flags[: following.start + 1], refiner)
        log["calls"] = sum(len(record["conversation"]) for record in log["windows"])
        if windows and all(answer is None for answer in answers):
            yield self._fallback_points(clip, log), clip.num_frames
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
        """Return the control points that no later answer changes, and how many frames are final."""
        log = {"flags": flags + [0] * (len(spans) - len(flags))}
        points = self._points(clip, spans, self.name, log, refiner)
        # The next change may be moved by half a frame towards the frames that are final.
        until_s = 2 * spans[len(flags)][0] - spans[len(flags)][1]
        final = int((clip.spans[:, 1] <= until_s).sum())
        return points.up_to(final), final

    def query(self, clip: Clip) -> Any:
        """Return what `converse` needs to know of the whole clip; by default nothing."""

    def converse(self, conversation: Conversation, query: Any, record: Log) -> list[int]:
        """Ask about one window; returns its flags. `record` is a part of the log."""
        raise NotImplementedError

    def _windows(self, spans: Sequence[tuple[float, float]]) -> list[AudioWindow]:
        if len(spans) == 1:
            # The first frame is a control point whatever its audio.
            return []
        limits = (self.window_s, getattr(self.llm, "max_audio_s", None))
        limit_s = min((limit for limit in limits if limit is not None), default=None)
        return windows_of(spans, limit_s, self.overlap_s)

    def _ask_about(
        self,
        clip: Clip,
        waveform: Tensor,
        spans: Sequence[tuple[float, float]],
        window: AudioWindow,
        query: Any,
        log: Log,
    ) -> list[int] | None:
        """Return the flags of a window, or None if the fallback has to give them."""
        start_s, end_s = spans[window.start][0], spans[window.stop - 1][1]
        rate = clip.sample_rate
        audio = audio_between(waveform, rate, start_s, end_s)
        conversation = Conversation(self.llm, self.prompts, audio, rate, len(window))
        record: Log = {
            "seconds": [round(start_s, 3), round(end_s, 3)],
            "num_frames": len(window),
            "conversation": conversation.record,
        }
        log["windows"].append(record)
        try:
            return self.converse(conversation, query, record)
        except (ControlPointParseError, CutOffAnswerError) as error:
            if self.fallback is None:
                raise
            log["notes"].append(
                f"{start_s:g} to {end_s:g} s: {error} Used the fallback, "
                f"{self.settings['fallback']}."
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
        """Return the control points of the flags, in frames of the clip."""
        starts = [start for start, _ in spans]
        changes_s = [s for s, flag in zip(starts, log["flags"], strict=True) if flag][1:]
        seen = states_of_frames(changes_s, clip)
        known: dict[str, Any] = {}
        if refiner is not None and changes_s:
            moments = refiner.moments(changes_s)
            log["refined_s"] = [round(second, 3) for second in moments]
            # With frames as long as those of the question, the flags are those of the answer.
            if clip.num_frames > len(spans):
                seen = states_of_frames(moments, clip)
            states = range(len(moments) + 1)
            known["starts_s"] = segment_starts_s(moments, clip, states, seen)
        return ControlPoints.from_indices(
            change_frames(seen), clip.num_frames, source, log, **known
        )

    def _not_asked(self, clip: Clip, log: Log) -> ControlPoints:
        silent = clip.waveform is not None
        if self.fallback is None and not silent:
            raise ClipError(
                f"{self.name} needs a clip with a waveform, got one without. Use `segment()` with "
                "a file or a Clip, or name a `fallback`."
            )
        reason = "is silent throughout" if silent else "has no waveform"
        log["notes"].append(f"The clip {reason}: the language model was not asked.")
        if self.fallback is None:
            return ControlPoints.from_indices([0], clip.num_frames, self.name, log)
        return self._fallback_points(clip, log)

    def _propose_fallback(self, clip: Clip) -> ControlPoints:
        assert self.fallback is not None  # without one, `_ask_about` raises
        return self.fallback.propose(clip)

    def _fallback_points(self, clip: Clip, log: Log) -> ControlPoints:
        points = self._propose_fallback(clip)
        return replace(points, log={**log, "fallback_log": dict(points.log)})

    def _empty_log(self) -> Log:
        llm = {
            "client": getattr(self.llm, "name", type(self.llm).__name__),
            "model_id": getattr(self.llm, "model_id", "unknown"),
            "settings": dict(getattr(self.llm, "settings", {})),
        }
        return {**self.settings, "llm": llm, "calls": 0, "windows": [], "notes": []}


def _name_of(provider: ControlPointProvider) -> str:
    """Return the shortest name under which a provider is registered."""
    names = [name for name, kind in PROVIDERS.module_dict.items() if kind is type(provider)]
    return min(names, key=len, default=type(provider).__name__)
