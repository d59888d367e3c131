"""Answers with lists: JSON, and brackets in prose; `parsing` describes each form."""

import json
import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from coprop_plugin.types.timeline import states_of_spans

_WORDS = {"true": 1, "yes": 1, "false": 0, "no": 0}
_NUMBER = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")
_CLOCK = re.compile(r"(?:[0-9]{1,3}:)?[0-9]{1,3}:[0-9]{2}(?:\.[0-9]{1,6})?")
_SECONDS = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?(?:s|secs?|seconds?)", re.IGNORECASE)
_BRACKETS = re.compile(r"\[([^\[\]{}]*+)\]")
_FRAME_KEY = re.compile(r"(?:frame|second|f|#)?[ _#-]?([0-9]{1,6})", re.IGNORECASE)


class UnreadableError(Exception):
    """The reason why an answer cannot be read; it becomes part of the user's error."""


@dataclass(frozen=True)
class Frames:
    """The frames of the question: `num` frames of `length_s` seconds each."""

    num: int
    length_s: float

    @property
    def end_s(self) -> float:
        """End of the last frame."""
        return self.num * self.length_s


@dataclass(frozen=True)
class Seconds:
    """A value that the answer itself marks as a time: `3 s` or `0:03`."""

    value: float


Scalar = int | float | Seconds | None


class JsonObject(list[tuple[str, object]]):
    """The pairs of a JSON object, repeated keys included."""


def scalar(token: object) -> Scalar:
    """Return the value of one entry of a list: a whole number, another number, a time, or None.

    Example:
        >>> scalar("1"), scalar(1.0), scalar(True), scalar("0:03"), scalar("dog")
        (1, 1, 1, Seconds(value=3.0), None)
    """
    if isinstance(token, bool | int):
        return int(token)
    if isinstance(token, float):
        return int(token) if token.is_integer() else token
    if not isinstance(token, str):
        return None
    word = token.strip(" \n\"'").lower()
    if word in _WORDS:
        return _WORDS[word]
    if _NUMBER.fullmatch(word):
        return scalar(float(word))
    return time_of(word)


def time_of(word: str) -> Seconds | None:
    """Return the time that `0:03`, `0:00:03.5` or `3 s` means; None for anything else."""
    if _CLOCK.fullmatch(word):
        value = 0.0
        for part in word.split(":"):
            value = 60 * value + float(part)
        return Seconds(value)
    match = _SECONDS.fullmatch(word)
    return Seconds(float(match[1])) if match else None


def flags_of_lists(text: str, frames: Frames) -> list[int] | None:
    """Return the flags that the lists of an answer agree on, None if it has no list of numbers.

    Raises:
        UnreadableError: If they do not fit the frames, or contradict one another.
    """
    lists: list[list[object]] = []
    pairs: list[tuple[int, int]] = []
    for value in json_values(text):
        lists += _lists_in(value, pairs)
    if not lists and not pairs:
        lists = [_split(inside) for inside in _BRACKETS.findall(text)]
    candidates = [values for values in map(_scalars, lists) if _is_candidate(values)]
    readings = [flags_of_pairs(pairs, frames)] if pairs else []
    readings += [_agreed(candidates, frames)] if candidates else []
    if len(readings) == 2 and readings[0] != readings[1]:
        raise UnreadableError("it has a list and numbered frames that differ")
    return readings[0] if readings else None


def flags_of_pairs(pairs: Sequence[tuple[int, int]], frames: Frames) -> list[int]:
    """Return the flags of pairs (number of the frame, flag) that name every frame.

    Frames are counted from 0 or from 1, whichever covers all frames.

    Raises:
        UnreadableError: If frames are missing or unknown, or one has two flags.
    """
    flags = dict(pairs)
    if any(flags[number] != flag for number, flag in pairs):
        raise UnreadableError("it gives one frame two different flags")
    first = min(flags)
    if first > 1 or set(flags) != set(range(first, first + frames.num)):
        raise UnreadableError(
            f"it numbers the frames {_few(sorted(flags))}, which are not all of them"
        )
    return [flags[number] for number in sorted(flags)]


def flags_of_times(seconds: Sequence[float], frames: Frames) -> list[int]:
    """Return the flags for changes at these seconds, the first of which is 0.

    Raises:
        UnreadableError: If they do not begin at 0, do not rise, or lie outside the audio.
    """
    rising = all(a < b for a, b in zip(seconds, seconds[1:], strict=False))
    if seconds[0] != 0 or not rising or seconds[-1] >= frames.end_s:
        raise UnreadableError(
            f"its times {_few(seconds)} do not rise from 0 to below {frames.end_s:g} s"
        )
    return flags_of_states(seconds[1:], range(len(seconds)), frames)


def flags_of_states(
    edges_s: Sequence[float], states: Sequence[Hashable], frames: Frames
) -> list[int]:
    """Return 1 for each frame whose prevailing state differs from that of the frame before."""
    spans = [(t * frames.length_s, (t + 1) * frames.length_s) for t in range(frames.num)]
    seen = states_of_spans(edges_s, spans, states)
    return [int(t == 0 or seen[t] != seen[t - 1]) for t in range(frames.num)]


def json_values(text: str) -> Iterator[object]:
    """Yield the JSON of an answer: of fenced blocks, else all of it, its braces, or its lines.

    Objects are `JsonObject`.
    """
    fenced = [re.sub(r"^[A-Za-z]+\n", "", part) for part in text.split("```")[1::2]]
    for part in fenced or [text]:
        for candidate in _json_texts(part):
            try:
                yield json.loads(candidate, object_pairs_hook=JsonObject)
                break
            except (ValueError, RecursionError):
                continue


def _json_texts(text: str) -> Iterator[str]:
    yield text
    if "{" in text:
        braces = text[text.index("{") : text.rfind("}") + 1]
        yield braces
        yield f"[{braces}]"
        # One object a line.
        lines = [line.strip().rstrip(",") for line in text.split("\n")]
        yield f"[{','.join(line for line in lines if line[:1] == '{' and line[-1:] == '}')}]"


def _lists_in(value: object, pairs: list[tuple[int, int]]) -> list[list[object]]:
    """Return the lists of scalars in a JSON value; adds flags of numbered frames to `pairs`."""
    lists: list[list[object]] = []
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, JsonObject):
            pairs += _numbered(value)
            waiting += [inner for _, inner in value]
        elif isinstance(value, list) and any(isinstance(inner, list) for inner in value):
            waiting += value
        elif isinstance(value, list):
            lists.append(value)
    return lists


def _numbered(value: JsonObject) -> list[tuple[int, int]]:
    """Return the pairs of `{"frame": 3, "flag": 1}` or of `{"1": 1, "2": 0, ...}`."""
    flags = [scalar(inner) for _, inner in value]
    keys = [_FRAME_KEY.fullmatch(key.strip()) for key, _ in value]
    found = zip(keys, flags, strict=True)
    pairs = [(int(key[1]), flag) for key, flag in found if key and _is_flag(flag)]
    if pairs:
        return pairs
    named = {key.strip().lower(): flag for (key, _), flag in zip(value, flags, strict=True)}
    number = next((named[key] for key in ("frame", "index", "second") if key in named), None)
    others = [flag for key, flag in named.items() if key not in ("frame", "index", "second")]
    marks = [flag for flag in others if _is_flag(flag)]
    if isinstance(number, int) and len(marks) == 1 and len(named) == len(value):
        return [(number, marks[0])]
    return []


def _split(inside: str) -> list[object]:
    numbers = re.fullmatch(r"[0-9.\s]+", inside)
    return [*(inside.split() if numbers else re.split(r"[,;|]", inside))]


def _scalars(values: Sequence[object]) -> list[Scalar]:
    scalars = [scalar(value) for value in values]
    # There is no entry after a trailing comma.
    return scalars[:-1] if len(scalars) > 1 and scalars[-1] is None else scalars


def _is_candidate(values: Sequence[Scalar]) -> bool:
    """Whether this is a list of numbers, not `[dog, cat]` or the label `[0:03]`."""
    label = len(values) == 1 and isinstance(values[0], Seconds)
    return not label and any(value is not None for value in values)


def _agreed(lists: Sequence[list[Scalar]], frames: Frames) -> list[int]:
    exact = [values for values in lists if _are_flags(values) and len(values) == frames.num]
    distinct = {tuple(values) for values in exact or lists}
    if len(distinct) > 1:
        raise UnreadableError(f"it has {len(distinct)} lists that differ")
    return _flags_of_list(list(distinct.pop()), frames)


def _is_flag(value: Scalar) -> TypeGuard[int]:
    return isinstance(value, int) and value in (0, 1)


def _are_flags(values: Sequence[Scalar]) -> TypeGuard[list[int]]:
    return all(map(_is_flag, values))


def _are_whole(values: Sequence[Scalar]) -> TypeGuard[list[int]]:
    return all(isinstance(value, int) for value in values)


def _flags_of_list(values: list[Scalar], frames: Frames) -> list[int]:
    if any(value is None for value in values):
        raise UnreadableError("its list mixes numbers and words")
    if _are_flags(values):
        if len(values) != frames.num:
            raise UnreadableError(f"its list has {len(values)} flags instead of {frames.num}")
        return values
    if _are_whole(values):
        return _flags_of_indices(values, frames)
    return flags_of_times([_seconds(value) for value in values if value is not None], frames)


def _seconds(value: int | float | Seconds) -> float:
    return value.value if isinstance(value, Seconds) else float(value)


def _flags_of_indices(indices: list[int], frames: Frames) -> list[int]:
    first = indices[0]
    rising = all(a < b for a, b in zip(indices, indices[1:], strict=False))
    if not rising or first not in (0, 1) or indices[-1] >= first + frames.num:
        raise UnreadableError(
            f"its list {_few(indices)} is neither flags nor rising frames from 0 or 1"
        )
    if len(indices) == frames.num:
        raise UnreadableError("its list only numbers the frames")
    return [int(t + first in indices) for t in range(frames.num)]


def _few(numbers: Sequence[float]) -> str:
    shown = ", ".join(f"{number:g}" for number in numbers[:8])
    return f"[{shown}, ...]" if len(numbers) > 8 else f"[{shown}]"
