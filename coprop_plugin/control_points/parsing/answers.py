r"""From a language model's answer to control-point flags: exactly T of them, or an error.

An answer is read as the first of these forms that it has something of. T is the number of frames
that were asked about, all of one length, a second mostly.

| form | example, T = 5 | meaning |
| --- | --- | --- |
| list of T flags | `[1, 0, 0, 1, 0]` | 1: the frame begins something new |
| ... in JSON, a code block, or prose | `{"control_points": [1, 0, 0, 1, 0]}` | the same |
| ... written otherwise | `[true, false, ...]`, `["1", "0", ...]`, `[1.0, 0.0, ...]` | the same |
| list of frames | `[0, 3]`, `[1, 4]` | control points; the first frame is always one, so a list that begins with 0 counts from 0, with 1 from 1 |
| list of times | `["0:00", "0:03"]`, `[0, 2.8]` | when something new begins, the first time 0 |
| every frame by number | `frame 1: 1, frame 2: 0, ...`, lines `1. 1`, `{"1": 1, ...}` | flags; counted from 0 or from 1, as the numbers say |
| ranges of time, one a line | `0:00-0:03 dog`, `0 to 2.8 s: dog` | what sounds from when until when; where nothing is named, nothing sounds |
| ranges of frames, one a line | `frames 1-3: dog`, `frames 4-5: girl` | stretches that cover every frame, both ends included, or half-open from 0 to T |
| times, one a line | `0:00 dog`, `0:03 girl` | each lasts until the next |
| flags without brackets | `1, 0, 0, 1, 0`, `10010` | flags |

Times and ranges become flags as everywhere in this library: a frame is in the state that covers most
of it, and two lines with the same words are the same state. What a model thinks before `</think>` and
what it says before "final answer" does not count. The flag of the first frame says nothing, and is 1
whatever the answer says. A list may be repeated.

Everything else is an error: fewer or more flags, flags beside lists that differ, a list that only
numbers the frames, frames counted from 2 on, ranges with other numbers beside them, whole seconds
with one left out in between (0-2, 3-4: is 2 to 3 silent, or are both ends included?), a refusal.
"""  # noqa: E501

import re
import unicodedata
from typing import Any

from coprop_plugin.control_points.parsing.lines import (
    flags_of_bare_run,
    flags_of_numbered_frames,
    flags_of_ranges,
    flags_of_starts,
)
from coprop_plugin.control_points.parsing.lists import Frames, Unread, flags_of_lists
from coprop_plugin.errors import ControlPointParseError

_FORMS = (
    flags_of_lists,
    flags_of_numbered_frames,
    flags_of_ranges,
    flags_of_starts,
    flags_of_bare_run,
)
_QUOTED = 160
_FINAL = re.compile("final answer", re.IGNORECASE)
_REFUSAL = re.compile(r"\b(?:sorry|cannot|can't|can’t|unable|don't|not able)\b", re.IGNORECASE)


def parse_flags(answer: str, num_frames: int, frame_s: float = 1.0) -> list[int]:
    r"""Read the flags out of an answer; see the module for the forms. Takes linear time.

    Args:
        answer: What the model said.
        num_frames: T.
        frame_s: Length of each of the frames in seconds, for answers in seconds.

    Returns:
        T flags, 0 or 1, the first one 1.

    Raises:
        ControlPointParseError: If the answer is none of the forms, or may mean several things; it
            quotes the answer and says why.

    Example:
        >>> parse_flags("The list is: [1, 0, 0, 1, 0].", 5)
        [1, 0, 0, 1, 0]
        >>> parse_flags("0:00-0:03 a dog\n0:03-0:05 a girl", 5)
        [1, 0, 0, 1, 0]
    """
    text = _plain(answer)
    frames = Frames(num_frames, frame_s)
    try:
        for form in _FORMS:
            flags = form(text, frames)
            if flags is not None:
                return [1, *flags[1:]]
            if form is flags_of_lists:
                text = text.replace("```", "\n")
        raise Unread(_missing(text, num_frames))
    except Unread as reason:
        raise ControlPointParseError(
            f"The answer {quoted(answer)} gives no flags for {num_frames} frames: {reason}. Ask "
            "again, or name a provider to fall back on."
        ) from reason


def flags_schema(num_frames: int) -> dict[str, Any]:
    """Return the JSON schema of exactly T flags, for clients that can hold a model to it.

    Example:
        >>> flags_schema(5)["properties"]["control_points"]["minItems"]
        5
    """
    flags = {
        "type": "array",
        "items": {"type": "integer", "enum": [0, 1]},
        "minItems": num_frames,
        "maxItems": num_frames,
    }
    return {
        "type": "object",
        "properties": {"control_points": flags},
        "required": ["control_points"],
        "additionalProperties": False,
    }


def quoted(answer: str) -> str:
    """Return an answer in quotes, cut to a readable length, without control characters."""
    cut = answer if len(answer) <= _QUOTED else f"{answer[: _QUOTED - 3]}..."
    return repr(cut)


def _plain(answer: str) -> str:
    """Return the part that counts, in plain characters, with single blanks and no emphasis."""
    text = unicodedata.normalize("NFKC", answer.rpartition("</think>")[2])
    marks = list(_FINAL.finditer(text))
    if marks:
        text = text[marks[-1].end() :]
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.replace("*", "")
    text = text if "```" in text else text.replace("`", "")
    return re.sub(r"[^\S\n]+", " ", text).strip()


def _missing(text: str, num_frames: int) -> str:
    if not text:
        return "it is empty"
    if _REFUSAL.search(text):
        return "it is a refusal"
    return f"it holds no list of {num_frames} flags"
