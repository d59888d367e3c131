"""Why a frame is a control point: what the log of each provider says about its moment."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coprop_plugin.types import ControlPoints

_RULES = {"onset": "a sound begins", "offset": "the sound ends", "change": "the sound changes"}
_SLACK_S = 0.02


class Reason(NamedTuple):
    """One thing that one provider said."""

    who: str
    says: str


def reasons_of(points: ControlPoints, spans: Sequence[tuple[float, float]]) -> list[list[Reason]]:
    """Say for each control point who wanted it, and why.

    Logs may be edited or come from elsewhere: what is not in the form that the providers of this
    library write is passed over.

    Args:
        points: With the log of their provider.
        spans: Start and end of every frame in seconds.

    Returns:
        One list a control point, never empty.

    Example:
        >>> log = {"boundaries": [{"second": 1.02, "rule": "onset", "score": 3.5}]}
        >>> points = ControlPoints([1, 1], "novelty", log)
        >>> reasons_of(points, [(0.0, 1.0), (1.0, 2.0)])[1]
        [Reason(who='novelty', says='a sound begins at 1.02 s, score 3.5')]
    """
    found = []
    for number, index in enumerate(points.indices):
        begins_s = spans[index][0]
        if points.starts_s is not None:
            begins_s = float(points.starts_s[number])
        moment = _Moment(index, begins_s, spans)
        said = list(_said(points.source, points.log, moment))
        if index == 0:
            said.insert(0, Reason(points.source, "the first frame begins the first segment"))
        found.append(said or [Reason(points.source, "named this frame; its log says no more")])
    return found


class _Moment(NamedTuple):
    index: int
    begins_s: float
    spans: Sequence[tuple[float, float]]

    def is_at(self, second: Any) -> bool:
        """Whether a second, before it was snapped to a frame, may have become this one."""
        if not isinstance(second, int | float):
            return False
        start, end = self.spans[self.index]
        reach_s = (end - start) / 2 + _SLACK_S
        return abs(second - self.begins_s) <= reach_s or abs(second - start) <= reach_s


def _said(who: str, log: Any, moment: _Moment) -> Iterator[Reason]:
    if not isinstance(log, Mapping):
        return
    for entry in _entries(log, "boundaries"):
        if moment.is_at(entry.get("second")) and entry.get("kept", True):
            yield Reason(who, _boundary(entry))
    yield from _similarity(who, log, moment)
    yield from _heard(who, log.get("spans"), moment)
    for window in _entries(log, "windows"):
        yield from _answers(who, window, moment)
    yield from _said_by_others(who, log, moment)


def _said_by_others(who: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    for entry in _entries(log, "votes"):
        if entry.get("frame") == moment.index:
            yield Reason(who, _vote(entry, log))
    for member in _entries(log, "members"):
        if moment.index and moment.index in (member.get("indices") or ()):
            said = list(_said(str(member.get("source")), member.get("log"), moment))
            yield from said or [Reason(str(member.get("source")), "named this frame")]
    for asked in _entries(log, "asked"):
        yield from _asked_about(asked, moment)
    yield from _said(f"{who}, falling back", log.get("fallback_log"), moment)


def _entries(log: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    entries = log.get(name)
    if not isinstance(entries, list | tuple):
        return []
    return [entry for entry in entries if isinstance(entry, Mapping)]


def _boundary(entry: Mapping[str, Any]) -> str:
    rule = str(entry.get("rule"))
    says = f"{_RULES.get(rule, rule)} at {entry['second']:.2f} s, score {entry.get('score')}"
    if entry.get("decided") is False:
        says += "; too near to call, confirmed by asking"
    return says


def _similarity(who: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    row = log.get("similarity")
    if isinstance(row, list) and 0 < moment.index <= len(row):
        value = row[moment.index - 1]
        yield Reason(
            who, f"sounds like the frame before by {value}; the threshold is {log.get('threshold')}"
        )


def _heard(who: str, spans: Any, moment: _Moment) -> Iterator[Reason]:
    if not isinstance(spans, Mapping):
        return
    for name, stretches in spans.items():
        for start_s, end_s in stretches:
            if moment.is_at(start_s):
                yield Reason(who, f"{name} begins at {start_s:.2f} s")
            if moment.is_at(end_s):
                yield Reason(who, f"{name} ends at {end_s:.2f} s")


def _vote(entry: Mapping[str, Any], log: Mapping[str, Any]) -> str:
    names = [str(member.get("source")) for member in _entries(log, "members")]
    voters = [names[v] if v < len(names) else str(v) for v in entry.get("voters") or ()]
    return f"{', '.join(voters)} of {len(names)} voted for it: {entry.get('share', 0):.0%}"


def _answers(who: str, window: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    seconds = window.get("seconds")
    if not isinstance(seconds, list) or not seconds[0] <= moment.begins_s < seconds[1]:
        return
    answers = [entry for entry in _entries(window, "conversation") if "flags" in entry]
    if answers:
        says = f"asked about {seconds[0]:g} to {seconds[1]:g} s, answered “{answers[-1]['answer']}”"
        yield Reason(who, says)


def _asked_about(asked: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    """What was said about a stretch that was cut out, whose clock starts at its first frame."""
    first, stop = (asked.get("frames") or (0, 0))[:2]
    if first <= moment.index < stop:
        offset_s = moment.spans[first][0]
        spans = [(start - offset_s, end - offset_s) for start, end in moment.spans[first:]]
        inner = _Moment(moment.index - first, moment.begins_s - offset_s, spans)
        yield from _said(str(asked.get("source")), asked.get("log"), inner)
