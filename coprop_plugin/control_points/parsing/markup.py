"""Markup around an answer: thinking, subtitles and tables, turned into the lines of `parsing`."""

import re
from collections.abc import Sequence

from coprop_plugin.control_points.parsing.lists import UnreadableError

_WORDS = r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|analysis|scratchpad)"
_OPEN = re.compile(rf"[<\[◁] ?{_WORDS}\b[^<>\[\]◁▷]{{0,80}}[>\]▷]", re.IGNORECASE)
_CLOSE = re.compile(rf"[<\[◁] ?/ ?{_WORDS} ?[>\]▷]", re.IGNORECASE)
# Channels of gpt-oss: the answer is in the last one.
_CHANNEL = re.compile(r"<\|channel\|> ?([a-z]{1,20})[^<]{0,80}<\|message\|>")
_CUE_TIME = r"(?:[0-9]{1,3}:)?[0-9]{1,3}:[0-9]{2}(?:[.,][0-9]{1,6})?"
_CUE = re.compile(
    rf"^(?:[0-9]{{1,6}} ?\n)?(?P<start>{_CUE_TIME}) ?--> ?(?P<end>{_CUE_TIME})[^\n]*\n?"
    r"(?P<text>(?:[^\n]++\n?)*+)",
    re.MULTILINE,
)
_RULE = re.compile(r"\|? ?:?-{2,}:?(?: ?\| ?:?-{2,}:?)* ?\|?")
_FLAGS = {"0", "1", "true", "false", "yes", "no"}
_TIME_CELL = re.compile(rf"(?:{_CUE_TIME}|[0-9]{{1,6}}(?:\.[0-9]{{1,6}})? ?s)", re.IGNORECASE)


def without_thinking(text: str) -> str:
    """Return what follows the thinking of a model.

    Raises:
        UnreadableError: If the thinking has no end: an intermediate thought is not an answer.

    Example:
        >>> without_thinking("<Thinking>is it [1, 1]?</Thinking>[1, 0]")
        '[1, 0]'
    """
    channels = list(_CHANNEL.finditer(text))
    if channels:
        if channels[-1][1] != "final":
            raise UnreadableError("its thinking was cut off before an answer")
        text = text[channels[-1].end() :]
    ends = [match.end() for match in _CLOSE.finditer(text)]
    text = text[ends[-1] :] if ends else text
    if _OPEN.search(text):
        raise UnreadableError("its thinking was cut off before an answer")
    return text


def plain_cues(text: str) -> str:
    """Turn cues of SRT and VTT subtitles into lines `0:00:00.0-0:00:03.0 dog`."""
    if "-->" not in text:
        return text
    text = re.sub(r"^WEBVTT[^\n]*\n", "", text.strip())

    def line(match: re.Match[str]) -> str:
        times = (match[name].replace(",", ".") for name in ("start", "end"))
        words = re.sub(r"<[^<>\n]{0,80}>", "", match["text"]).split()
        return f"{'-'.join(times)} {' '.join(words)}\n"

    return _CUE.sub(line, text)


def plain_tables(text: str) -> str:
    r"""Turn the rows of a Markdown table into lines `3: 1` or `0:00-0:03 dog`.

    Example:
        >>> plain_tables("| Frame | Change |\n|---|---|\n| 1 | 1 |\n| 2 | 0 |")
        '1: 1\n2: 0'
    """
    lines = text.split("\n")
    rules = [n for n, line in enumerate(lines) if _RULE.fullmatch(line.strip())]
    if len(rules) != 1 or rules[0] == 0 or "|" not in lines[rules[0]]:
        return text
    rule = rules[0]
    stop = next((n for n in range(rule + 1, len(lines)) if "|" not in lines[n]), len(lines))
    rows = [_cells(line) for line in lines[rule + 1 : stop]]
    return "\n".join([*lines[: rule - 1], *_lines_of(rows), *lines[stop:]])


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _lines_of(rows: Sequence[Sequence[str]]) -> list[str]:
    width = min(map(len, rows), default=0)
    flags = [c for c in range(1, width) if all(row[c].lower() in _FLAGS for row in rows)]
    if width and len(flags) == 1 and all(re.search("[0-9]", row[0]) for row in rows):
        numbers = [re.sub(r"^\D*([0-9]+)\D*$", r"\1", row[0]) for row in rows]
        if all(number.isdecimal() for number in numbers):
            return [f"{n}: {row[flags[0]]}" for n, row in zip(numbers, rows, strict=True)]
    return [_range_line(row) for row in rows]


def _range_line(row: Sequence[str]) -> str:
    times = [cell for cell in row[:3] if _TIME_CELL.fullmatch(cell)]
    if len(times) == 2:
        return f"{'-'.join(times)} {' '.join(cell for cell in row if cell not in times)}"
    return " ".join(row)
