"""A language model names the categories that a detector is to find."""

import json
import re
from typing import Any

from coprop_plugin.control_points.listening.mel_rows import waveform_around
from coprop_plugin.errors import ControlPointParseError
from coprop_plugin.types import AudioLLM, Clip

QUESTION = (
    "Which different things sound in this audio? Answer with nothing but a JSON list of short "
    'names, such as ["dog", "violin"], and [] if nothing sounds.'
)
_SCHEMA = {"type": "array", "items": {"type": "string"}}
_MOST_WORDS = 4
_WINDOW_S = 30.0
_ARTICLE = re.compile(r"^(?:a|an|the|some)\s+", re.IGNORECASE)


def ask_for_categories(llm: AudioLLM, clip: Clip) -> tuple[list[str], list[dict[str, Any]]]:
    """Ask a language model what sounds in a clip.

    Audio longer than it takes, or than half a minute, is split into windows.

    Args:
        llm: The language model.
        clip: With a waveform.

    Returns:
        The names, each once, in the order of their first mention; and questions with raw answers
        for the log.

    Raises:
        ClipError: If the clip has no waveform.
        AudioLLMError: If the model gives no answer.
        ControlPointParseError: If an answer is not a list of names.
    """
    waveform, _ = waveform_around(clip)
    rate = clip.sample_rate
    window = int(min(getattr(llm, "max_audio_s", None) or _WINDOW_S, _WINDOW_S) * rate)
    names: dict[str, str] = {}
    record = []
    for start in range(0, max(len(waveform), 1), window):
        messages = [{"role": "user", "content": QUESTION}]
        answer = llm.chat(messages, waveform[start : start + window], rate, schema=_SCHEMA)
        record.append({"question": QUESTION, "answer": answer, "start_s": start / rate})
        for name in read_names(answer):
            names.setdefault(name.lower(), name)
    return list(names.values()), record


def read_names(answer: str) -> list[str]:
    r"""Read the names in an answer: a JSON list, one name per line, or names with commas.

    Raises:
        ControlPointParseError: If it has no list of short names.

    Example:
        >>> read_names('Sure! ["dog", "a violin"]'), read_names("1. Dog\n2. Violin")
        (['dog', 'violin'], ['Dog', 'Violin'])
    """
    found = re.search(r"\[[^\[\]]*\]", answer)
    if found:
        try:
            listed = json.loads(found[0])
        except ValueError:
            listed = found[0][1:-1].split(",")
        names = [_clean(name) for name in listed if isinstance(name, str)]
        if all(names) and len(names) == len(listed) or found[0] == "[]":
            return names
    names = [_clean(line) for line in re.split(r"[\n,;]|\band\b", answer)]
    names = [name for name in names if name]
    if not names or any(len(name.split()) > _MOST_WORDS for name in names):
        raise ControlPointParseError(
            f"Expected a list of names as the answer to what sounds, got {answer[:160]!r}. Give "
            "the `categories`, or use another model."
        )
    return names


def _clean(text: str) -> str:
    text = re.sub(r"^\s*(?:[-*•]|\d+[.):])\s*", "", text).strip(" \t\"'`.")
    return _ARTICLE.sub("", text)
