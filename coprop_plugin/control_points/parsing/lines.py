"""Answers without lists: numbered lines, ranges of time or frames, bare flags; see `parsing`."""

import re

from coprop_plugin.control_points.parsing.lists import (
    Frames,
    UnreadableError,
    flags_of_pairs,
    flags_of_states,
    flags_of_times,
    time_of,
)
from coprop_plugin.control_points.parsing.ranges import LabelledRange, flags_of_labelled
from coprop_plugin.control_points.prompts import ORDINALS

# `parse_flags` leaves single blanks, and every repetition is bounded or possessive, so that no text
# makes these patterns slow.
_VALUE = r"(?P<flag>[01]|true|false|yes|no)(?!\w|[:.][0-9]| ?(?:-|–|—|to) ?[0-9]| s\b| sec)"
_KEYED = re.compile(
    r"(?:\b(?:frame|second|segment|part) ?#?(?P<after>[0-9]{1,6})"
    r"|\b(?P<before>[0-9]{1,6})(?:st|nd|rd|th) (?:frame|second|segment|part))"
    rf" ?(?::|=|->|=>|→|is) ?{_VALUE}",
    re.IGNORECASE,
)
_NUMBERED = re.compile(rf"[-•(]? ?(?P<after>[0-9]{{1,6}}) ?[.):=] ?{_VALUE}", re.IGNORECASE)
_TIME = (
    r"(?:(?:[0-9]{1,3}:)?[0-9]{1,3}:[0-9]{2}(?:\.[0-9]{1,6})?"
    r"|[0-9]{1,6}(?:\.[0-9]{1,6})?(?: ?(?:seconds?|secs?|s)\b)?)"
)
_RANGE = re.compile(
    rf"(?P<frames>\bframes? ?#?)?(?<![\w.:-])(?P<start>{_TIME})"
    rf" ?(?:-|–|—|~|to|until|through) ?(?:frame )?(?P<end>{_TIME})(?!\w|[:.-][0-9])",
    re.IGNORECASE,
)
_START = re.compile(rf"[-•(\[]? ?(?:at )?(?P<start>{_TIME})", re.IGNORECASE)
_LIST_NUMBER = re.compile(r"[-•(]? ?[0-9]{1,4}[.)] ")
_RUN = re.compile(r"(?<![\w.:-])[01](?:[,;|/\n ]{1,3}[01](?![0-9]))*+")
_ORDINAL = re.compile(rf"\b({'|'.join(ORDINALS)}) (?=frame)", re.IGNORECASE)


def flags_of_numbered_frames(text: str, frames: Frames) -> list[int] | None:
    """Read `frame 3: 1` anywhere, or lines `3. 1`; None if there are none.

    Raises:
        UnreadableError: If a frame has no flag or several.
    """
    text = _ORDINAL.sub(lambda m: f"{ORDINALS.index(m[1].lower()) + 1}th ", text)
    found = list(_KEYED.finditer(text))
    if not found:
        lines = map(_NUMBERED.match, map(str.strip, text.splitlines()))
        found = [match for match in lines if match]
    pairs = []
    for match in found:
        number = match["after"] or match["before"]
        pairs.append((int(number), int(match["flag"].lower() in ("1", "true", "yes"))))
    # A single line may mean anything.
    return flags_of_pairs(pairs, frames) if len(pairs) > 1 or frames.num == 1 and pairs else None


def flags_of_ranges(text: str, frames: Frames) -> list[int] | None:
    """Read ranges such as `0:00-0:03 dog`, one per line; None if there are none.

    Raises:
        UnreadableError: If a line has several ranges or other numbers, or they are ambiguous.
    """
    ranges, others = [], []
    for line in _lines(text):
        matches = list(_RANGE.finditer(line))
        if len(matches) > 1:
            raise UnreadableError("it has several ranges in one line")
        if matches:
            ranges.append(_range_of(line, matches[0]))
            line = line[: matches[0].start()] + line[matches[0].end() :]
        others.append(line)
    if not ranges:
        return None
    if re.search("[0-9]", "\n".join(others)):
        raise UnreadableError("it has other numbers besides its ranges")
    return flags_of_labelled(ranges, frames)


def flags_of_starts(text: str, frames: Frames) -> list[int] | None:
    """Read lines that begin with a time, `0:03 girl`, each until the next; None if there are none.

    Raises:
        UnreadableError: If the first is not 0, they do not rise, or there are other numbers.
    """
    seconds, labels, others = [], [], []
    for line in _lines(text):
        match = _START.match(line)
        time = time_of(match["start"].lower()) if match else None
        rest = line[match.end() :] if match and time else line
        others.append(rest)
        if time:
            seconds.append(time.value)
            labels.append(_label(rest))
    if not seconds:
        return None
    if re.search("[0-9]", "\n".join(others)):
        raise UnreadableError("it has other numbers besides its times")
    if not any(labels):
        return flags_of_times(seconds, frames)
    flags_of_times(seconds, frames)
    return flags_of_states(seconds[1:], labels, frames)


def flags_of_bare_run(text: str, frames: Frames) -> list[int] | None:
    """Read `1, 0, 0, 1, 0` or `10010` without brackets; None if there are no such flags.

    Raises:
        UnreadableError: If there are several such rows, of other lengths, or other numbers.
    """
    glued = re.fullmatch(r"[^\w\[\]]*+([01]++)[^\w\[\]]*+", text)
    if glued and frames.num > 1:
        runs, rest = [list(glued[1])], ""
    else:
        matches = list(_RUN.finditer(text))
        if any(re.match(r"\w", text[match.end() :][:1]) for match in matches):
            raise UnreadableError("its flags run into other characters")
        runs = [re.findall("[01]", match[0]) for match in matches]
        # The number of frames may be mentioned: "the 5 frames".
        rest = re.sub(rf"(?<![\w.:-]){frames.num} (?=[a-z])", " ", _RUN.sub("|", text))
    runs = [run for run in runs if len(run) > 1] or runs
    if not runs:
        return None
    if "[" in text:
        raise UnreadableError("its list has no end")
    if len({tuple(run) for run in runs}) > 1:
        raise UnreadableError("it has several rows of flags that differ")
    if len(runs[0]) != frames.num:
        raise UnreadableError(f"it has {len(runs[0])} flags instead of {frames.num}")
    if re.search("[0-9]", rest):
        raise UnreadableError("it has other numbers besides its flags")
    return [int(flag) for flag in runs[0]]


def _lines(text: str) -> list[str]:
    """Return the lines and sentences between `;`, without their numbering."""
    lines = [line.strip() for line in re.split(r"[\n;]", text)]
    return [line[match.end() :] if (match := _LIST_NUMBER.match(line)) else line for line in lines]


def _range_of(line: str, match: re.Match[str]) -> LabelledRange:
    texts = match["start"].lower(), match["end"].lower()
    times = [time_of(text) for text in texts]
    label = _label(line[: match.start()] + " " + line[match.end() :])
    if match["frames"]:
        if any(times) or any("." in text for text in texts):
            raise UnreadableError("its ranges mix frames and seconds")
        return LabelledRange(int(texts[0]), int(texts[1]), "frames", label)
    in_seconds = any(times) or any("." in text for text in texts)
    start, end = (
        time.value if time else float(text) for time, text in zip(times, texts, strict=True)
    )
    return LabelledRange(start, end, "seconds" if in_seconds else "unknown", label)


def _label(text: str) -> str:
    """Return the words of a line: two lines with the same words mean the same sound."""
    return " ".join(re.findall(r"[^\W\d_]+", text.lower()))
