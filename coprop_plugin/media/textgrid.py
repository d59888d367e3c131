"""Praat TextGrids, in the long and in the short form."""

import re
from collections.abc import Iterator

from coprop_plugin.errors import MediaError
from coprop_plugin.types.annotation import UNNAMED, Annotation, Names, Span

# Praat reads free-standing numbers, quoted texts and flags, and ignores everything else.
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<!\S)(-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\S)|<(\w+)>')


def read_textgrid(text: str, split_names: "re.Pattern[str]") -> Annotation:
    """Read a TextGrid: every interval with a text sounds, every point is a change.

    Args:
        text: The content of the file.
        split_names: What separates names within a text.

    Raises:
        MediaError: If it is not a TextGrid.
        ControlPointError: If its times do not make an annotation.
    """
    tokens = _tokens(text)
    spans: list[Span] = []
    points: list[tuple[float, Names]] = []
    try:
        if next(tokens) != "ooTextFile" or next(tokens) != "TextGrid":
            raise StopIteration
        _number(tokens), _number(tokens), next(tokens)  # from, to, <exists>
        for _ in range(int(_number(tokens))):
            kind = next(tokens)
            next(tokens), _number(tokens), _number(tokens)  # name, from, to
            for _ in range(int(_number(tokens))):
                start_s = _number(tokens)
                end_s = _number(tokens) if kind == "IntervalTier" else start_s
                names = [n for n in split_names.split(str(next(tokens)).strip()) if n]
                if kind == "IntervalTier":
                    spans += [Span(start_s, end_s, name) for name in names]
                else:
                    points.append((start_s, tuple(names) or None))
    except (StopIteration, ValueError) as error:
        raise MediaError(
            "Expected a TextGrid with interval or point tiers, got something else. Save it from "
            "Praat as a text file or a short text file."
        ) from error
    return Annotation.of_spans(spans) if spans or not points else Annotation.at(points).named()


def write_textgrid(annotation: Annotation) -> str:
    """Return a TextGrid in the long form, with one interval tier."""
    rows = annotation.segments
    end_s = rows[-1][1]
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {end_s:.6f}",
        "tiers? <exists>",
        "size = 1",
        "item []:",
        "    item [1]:",
        '        class = "IntervalTier"',
        '        name = "sounding"',
        "        xmin = 0",
        f"        xmax = {end_s:.6f}",
        f"        intervals: size = {len(rows)}",
    ]
    for number, (start_s, stop_s, names) in enumerate(rows, 1):
        text = ", ".join((UNNAMED,) if names is None else names).replace('"', '""')
        lines += [
            f"        intervals [{number}]:",
            f"            xmin = {start_s:.6f}",
            f"            xmax = {stop_s:.6f}",
            f'            text = "{text}"',
        ]
    return "\n".join(lines) + "\n"


def _tokens(text: str) -> Iterator[str]:
    for quoted, number, flag in _TOKEN.findall(text):
        yield number or flag or quoted.replace('""', '"')


def _number(tokens: Iterator[str]) -> float:
    return float(next(tokens))
