"""Answers with JSON objects such as `{"start": 0, "end": 2.8, "label": "dog"}`; see `parsing`."""

import re
from collections.abc import Iterator
from dataclasses import replace

from coprop_plugin.control_points.parsing.lists import (
    Frames,
    JsonObject,
    Seconds,
    UnreadableError,
    json_values,
    scalar,
)
from coprop_plugin.control_points.parsing.ranges import LabelledRange, Unit, flags_of_labelled

_UNIT = r"[ _-]?(?P<unit>s|secs?|seconds?|time|timestamp|frames?)?"
_EDGES = {
    "start": re.compile(rf"(?:start|begin|from|onset){_UNIT}", re.IGNORECASE),
    "end": re.compile(rf"(?:end|stop|until|to|offset){_UNIT}", re.IGNORECASE),
}
# Numbers that say nothing about what sounds.
_ASIDE = re.compile(r"id|index|number|segment|duration\w*|confidence|score|prob\w*", re.IGNORECASE)


def flags_of_json_ranges(text: str, frames: Frames) -> list[int] | None:
    """Read objects with a start and an end; None if there are none.

    Raises:
        UnreadableError: If they have other numbers, or as `flags_of_labelled`.
    """
    objects = [inner for value in json_values(text) for inner in _objects(value)]
    ranges = [found for found in map(_range_of, objects) if found]
    if not ranges:
        return None
    if any(r.unit == "seconds" for r in ranges):
        # `0` beside `2.8` is a time, too.
        ranges = [replace(r, unit="seconds") if r.unit == "unknown" else r for r in ranges]
    return flags_of_labelled(ranges, frames)


def _objects(value: object) -> Iterator[JsonObject]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, JsonObject):
            yield value
            waiting += [inner for _, inner in value]
        elif isinstance(value, list):
            waiting += value


def _range_of(pairs: JsonObject) -> LabelledRange | None:
    edges: dict[str, tuple[float, Unit]] = {}
    words: list[str] = []
    others = []
    for key, value in pairs:
        key = key.strip()
        name, match = next(
            ((name, match) for name, form in _EDGES.items() if (match := form.fullmatch(key))),
            (key, None),
        )
        edge = _edge(value, match["unit"] or "") if match else None
        if edge is not None:
            edges[name] = edge
        elif isinstance(value, str):
            words.append(value)
        elif isinstance(value, list) and all(isinstance(word, str) for word in value):
            words += sorted(value)
        elif value is not None and not _ASIDE.fullmatch(key):
            others.append(key)
    if len(edges) < len(_EDGES):
        return None
    if others:
        raise UnreadableError(f"its ranges have another value, {others[0][:20]!r}")
    (start, unit), (end, end_unit) = edges["start"], edges["end"]
    if {unit, end_unit} == {"frames", "seconds"}:
        raise UnreadableError("its ranges mix frames and seconds")
    label = " ".join(" ".join(words).lower().split())
    return LabelledRange(start, end, unit if end_unit == "unknown" else end_unit, label)


def _edge(value: object, unit: str) -> tuple[float, Unit] | None:
    number = scalar(value)
    if number is None:
        return None
    if isinstance(number, Seconds):
        return number.value, "seconds"
    if unit.lower().startswith("frame"):
        return number, "frames"
    return number, "seconds" if unit or isinstance(value, float) else "unknown"
