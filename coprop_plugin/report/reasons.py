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
        said = _said(points.source, points.log, moment)
        if index == 0:
            said.insert(0, Reason(points.source, "the first frame begins the first segment"))
        found.append(said or [Reason(points.source, "named this frame; its log says no more")])
    return found


class _Moment(NamedTuple):
    index: int
    begins_s: float
    spans: Sequence[tuple[float, float]]

    def is_at(self, second: float) -> bool:
        """Whether a second, before it was snapped to a frame, may have become this one."""
        start, end = self.spans[self.index]
        reach_s = (end - start) / 2 + _SLACK_S
        return abs(second - self.begins_s) <= reach_s or abs(second - start) <= reach_s


def _said(who: str, log: Any, moment: _Moment) -> list[Reason]:
    said: list[Reason] = []
    for part in (_boundaries, _similarity, _heard, _answers, _votes, _members, _asked, _fallback):
        try:
            said += list(part(who, log, moment))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            continue
    return said


def _boundaries(who: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    for entry in log.get("boundaries", ()):
        if moment.is_at(entry["second"]) and entry.get("kept", True):
            rule = _RULES.get(entry["rule"], entry["rule"])
            says = f"{rule} at {entry['second']:.2f} s, score {entry['score']}"
            if entry.get("decided") is False:
                says += "; too near to call, confirmed by asking"
            yield Reason(who, says)


def _similarity(who: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    row = log.get("similarity", ())
    if 0 < moment.index <= len(row):
        yield Reason(
            who,
            f"sounds like the frame before by {row[moment.index - 1]:.2f}; the threshold is "
            f"{log['threshold']}",
        )


def _heard(who: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    for name, stretches in log.get("spans", {}).items():
        for start_s, end_s in stretches:
            if moment.is_at(start_s):
                yield Reason(who, f"{name} begins at {start_s:.2f} s")
            if moment.is_at(end_s):
                yield Reason(who, f"{name} ends at {end_s:.2f} s")


def _answers(who: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    for window in log.get("windows", ()):
        start_s, end_s = window["seconds"]
        answers = [entry["answer"] for entry in window["conversation"] if "flags" in entry]
        if start_s <= moment.begins_s < end_s and answers:
            yield Reason(who, f"asked about {start_s:g} to {end_s:g} s, answered “{answers[-1]}”")


def _votes(who: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    names = [str(member["source"]) for member in log.get("members", ())]
    for entry in log.get("votes", ()):
        if entry["frame"] == moment.index:
            voters = ", ".join(names[voter] for voter in entry["voters"])
            yield Reason(who, f"{voters} of {len(names)} voted for it: {entry['share']:.0%}")


def _members(who: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    for member in log.get("members", ()):
        if moment.index and moment.index in member["indices"]:
            name = str(member["source"])
            yield from _said(name, member["log"], moment) or [Reason(name, "named this frame")]


def _asked(who: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    """What was said about stretches that were cut out, each on a clock of its own."""
    for asked in log.get("asked", ()):
        first, stop = asked["frames"]
        if first <= moment.index < stop:
            offset_s = moment.spans[first][0]
            spans = [(start - offset_s, end - offset_s) for start, end in moment.spans[first:]]
            inner = _Moment(moment.index - first, moment.begins_s - offset_s, spans)
            yield from _said(str(asked["source"]), asked["log"], inner)


def _fallback(who: str, log: Mapping[str, Any], moment: _Moment) -> Iterator[Reason]:
    if "fallback_log" in log:
        yield from _said(f"{who}, falling back", log["fallback_log"], moment)
