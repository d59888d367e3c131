"""Reasons for control points, from the logs of their providers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from coprop_plugin.types import ControlPoints

_RULES = {"onset": "a sound begins", "offset": "the sound ends", "change": "the sound changes"}
_SLACK_S = 0.02
"""Allowed difference between the times of a log and those of the frames, besides half a frame."""


class Reason(NamedTuple):
    """What one provider logged about one control point."""

    provider: str
    text: str


def reasons_of(points: ControlPoints, spans: Sequence[tuple[float, float]]) -> list[list[Reason]]:
    """Return for each control point which providers proposed it, and why.

    Logs may be edited or come from other programs: entries in another form than that of this
    library's providers are ignored.

    Args:
        points: With the log of their provider.
        spans: Start and end of every frame in seconds.

    Returns:
        One list per control point, never empty.

    Example:
        >>> log = {"boundaries": [{"second": 1.02, "rule": "onset", "score": 3.5}]}
        >>> points = ControlPoints([1, 1], "novelty", log)
        >>> reasons_of(points, [(0.0, 1.0), (1.0, 2.0)])[1]
        [Reason(provider='novelty', text='a sound begins at 1.02 s, score 3.5')]
    """
    found = []
    for number, index in enumerate(points.indices):
        begins_s = spans[index][0]
        if points.starts_s is not None:
            begins_s = float(points.starts_s[number])
        moment = _Moment(index, begins_s, spans)
        reasons = _reasons(points.source, points.log, moment)
        if index == 0:
            reasons.insert(0, Reason(points.source, "the first frame begins the first segment"))
        found.append(
            reasons or [Reason(points.source, "proposed this frame; the log does not say why")]
        )
    return found


@dataclass(frozen=True)
class _Moment:
    index: int
    begins_s: float
    spans: Sequence[tuple[float, float]]

    def is_at(self, second: float) -> bool:
        """Whether a boundary at this second may have been snapped to this control point."""
        start, end = self.spans[self.index]
        reach_s = (end - start) / 2 + _SLACK_S
        return abs(second - self.begins_s) <= reach_s or abs(second - start) <= reach_s


def _reasons(provider: str, log: Any, moment: _Moment) -> list[Reason]:
    parsers = (
        _boundaries,
        _similarity,
        _classes,
        _answers,
        _votes,
        _members,
        _excerpts,
        _fallback,
    )
    reasons: list[Reason] = []
    for parse in parsers:
        try:
            reasons += list(parse(provider, log, moment))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            continue
    return reasons


def _boundaries(provider: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    for entry in log.get("boundaries", ()):
        if moment.is_at(entry["second"]) and entry.get("kept", True):
            rule = _RULES.get(entry["rule"], entry["rule"])
            text = f"{rule} at {entry['second']:.2f} s, score {entry['score']}"
            if entry.get("decided") is False:
                text += "; near the threshold, confirmed by the second provider"
            yield Reason(provider, text)


def _similarity(provider: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    row = log.get("similarity", ())
    if 0 < moment.index <= len(row):
        yield Reason(
            provider,
            f"similarity to the previous frame is {row[moment.index - 1]:.2f}, the threshold "
            f"{log['threshold']}",
        )


def _classes(provider: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    for name, spans in log.get("spans", {}).items():
        for start_s, end_s in spans:
            if moment.is_at(start_s):
                yield Reason(provider, f"{name} begins at {start_s:.2f} s")
            if moment.is_at(end_s):
                yield Reason(provider, f"{name} ends at {end_s:.2f} s")


def _answers(provider: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    for window in log.get("windows", ()):
        start_s, end_s = window["seconds"]
        answers = [entry["answer"] for entry in window["conversation"] if "flags" in entry]
        if start_s <= moment.begins_s < end_s and answers:
            yield Reason(
                provider, f"for {start_s:g} to {end_s:g} s the model answered “{answers[-1]}”"
            )


def _votes(provider: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    names = [str(member["source"]) for member in log.get("members", ())]
    for entry in log.get("votes", ()):
        if entry["frame"] == moment.index:
            voters = ", ".join(names[voter] for voter in entry["voters"])
            yield Reason(provider, f"{voters} of {len(names)} voted for it: {entry['share']:.0%}")


def _members(provider: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    for member in log.get("members", ()):
        if moment.index and moment.index in member["indices"]:
            name = str(member["source"])
            yield from _reasons(name, member["log"], moment) or [
                Reason(name, "proposed this frame")
            ]


def _excerpts(provider: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    """Read the logs of a provider that was run on parts of the clip, each with its own time 0."""
    for excerpt in log.get("asked", ()):
        first, stop = excerpt["frames"]
        if first <= moment.index < stop:
            offset_s = moment.spans[first][0]
            spans = [(start - offset_s, end - offset_s) for start, end in moment.spans[first:]]
            inner = _Moment(moment.index - first, moment.begins_s - offset_s, spans)
            yield from _reasons(str(excerpt["source"]), excerpt["log"], inner)


def _fallback(provider: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    if "fallback_log" in log:
        yield from _reasons(f"{provider} (fallback)", log["fallback_log"], moment)
