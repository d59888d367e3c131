"""`parse_flags`: an answer is read as the first of the forms in `parsing` that it contains."""

import re
import unicodedata
from typing import Any

from coprop_plugin.control_points.parsing.json_ranges import flags_of_json_ranges
from coprop_plugin.control_points.parsing.lines import (
    flags_of_bare_run,
    flags_of_numbered_frames,
    flags_of_ranges,
    flags_of_starts,
)
from coprop_plugin.control_points.parsing.lists import Frames, UnreadableError, flags_of_lists
from coprop_plugin.control_points.parsing.markup import (
    plain_cues,
    plain_tables,
    without_thinking,
)
from coprop_plugin.errors import ControlPointParseError

_FORMS = (
    flags_of_lists,
    flags_of_json_ranges,
    flags_of_numbered_frames,
    flags_of_ranges,
    flags_of_starts,
    flags_of_bare_run,
)
_QUOTED = 160
_FINAL = re.compile("final answer", re.IGNORECASE)
_REFUSAL = re.compile(r"\b(?:sorry|cannot|can't|can’t|unable|don't|not able)\b", re.IGNORECASE)


def parse_flags(answer: str, num_frames: int, frame_s: float = 1.0) -> list[int]:
    r"""Read the flags from an answer, in linear time; see `parsing` for the forms.

    Args:
        answer: The model's answer.
        num_frames: T.
        frame_s: Length of each frame in seconds, for answers in seconds.

    Returns:
        T flags, 0 or 1, the first one 1.

    Raises:
        ControlPointParseError: If the answer has none of the forms, or is ambiguous; the message
            quotes the answer and gives the reason.

    Example:
        >>> parse_flags("The list is: [1, 0, 0, 1, 0].", 5)
        [1, 0, 0, 1, 0]
        >>> parse_flags("0:00-0:03 a dog\n0:03-0:05 a girl", 5)
        [1, 0, 0, 1, 0]
    """
    frames = Frames(num_frames, frame_s)
    try:
        text = _plain(answer)
        for form in _FORMS:
            flags = form(text, frames)
            if flags is not None:
                return [1, *flags[1:]]
            if form is flags_of_json_ranges:
                text = text.replace("```", "\n")
        raise UnreadableError(_missing(text, num_frames))
    except UnreadableError as reason:
        raise ControlPointParseError(
            f"The answer {quoted(answer)} gives no flags for {num_frames} frames: {reason}. Ask "
            "again, or name a fallback provider."
        ) from reason


def flags_schema(num_frames: int) -> dict[str, Any]:
    """Return the JSON schema of exactly T flags, for clients that can constrain a model to it.

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
    """Return the final part of an answer in NFKC, with single blanks and no emphasis."""
    text = without_thinking(unicodedata.normalize("NFKC", answer))
    marks = list(_FINAL.finditer(text))
    if marks:
        text = text[marks[-1].end() :]
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.replace("*", "")
    text = text if "```" in text else text.replace("`", "")
    text = re.sub(r"[^\S\n]+", " ", text).strip()
    return plain_tables(plain_cues(text))


def _missing(text: str, num_frames: int) -> str:
    if not text:
        return "it is empty"
    if _REFUSAL.search(text):
        return "it is a refusal"
    return f"it has no list of {num_frames} flags"
