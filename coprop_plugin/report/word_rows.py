"""The words of a run over time, and what the page needs to edit them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coprop_plugin.report.read_run import Run
from coprop_plugin.types import ControlPoints

HEIGHT = 24.0
"""Of a word's curve, in units of its picture; a unit across is a hundredth of a second."""


@dataclass(frozen=True)
class WordRow:
    """One word over time.

    Attributes:
        word: The word.
        curve: Corners of its score as an SVG polyline: hundredths of a second, and 0 (certain) to
            `HEIGHT`; empty without scores.
        named: Where it names a segment: start and width in hundredths of a second.
        off_screen: Where it sounds and was not found in the picture; as `named`.
        best: Its highest score; None without scores.
    """

    word: str
    curve: str
    named: tuple[tuple[float, float], ...]
    off_screen: tuple[tuple[float, float], ...]
    best: float | None


def word_rows(run: Run) -> list[WordRow]:
    """Return a row for each word that names a segment; none if the run has no words.

    Logs and results can be edited: scores in another form than this library's are left out.
    """
    if run.points is None or run.points.sounds is None:
        return []
    scores, named = _scores(run.points.log), run.points.sounds.named
    found = run.content.get("frames")
    frames = found if isinstance(found, list) else []
    spans: dict[str, list[tuple[float, float]]] = {word: [] for word in run.points.sounds.classes}
    missing: dict[str, list[tuple[float, float]]] = {word: [] for word in spans}
    for segment in run.points.segments:
        start_s, end_s = run.spans[segment.start][0], run.spans[segment.stop - 1][1]
        span = round(100 * start_s, 2), round(100 * (end_s - start_s), 2)
        frame = frames[segment.start] if segment.start < len(frames) else None
        absent = frame.get("off_screen", ()) if isinstance(frame, Mapping) else ()
        for word in named.get(segment.start, ()):
            spans[word].append(span)
            if word in absent:
                missing[word].append(span)
    return [
        WordRow(
            word,
            _curve(*scores[word]) if word in scores else "",
            tuple(spans[word]),
            tuple(missing[word]),
            max(scores[word][2], default=None) if word in scores else None,
        )
        for word in spans
        if spans[word] or word in scores
    ]


def edit_data(points: ControlPoints, frames: Any) -> dict[str, Any] | None:
    """Return the control points without their log, and the boxes that were found, by frame.

    None if the run has no words, which the page's editor needs.
    """
    if points.sounds is None:
        return None
    content = {name: value for name, value in points.to_dict().items() if name != "log"}
    boxes: dict[int, dict[str, Any]] = {}
    for index in points.indices:
        frame = frames[index] if isinstance(frames, list) and index < len(frames) else None
        objects = frame.get("objects") if isinstance(frame, Mapping) else None
        if isinstance(objects, Mapping):
            known = {w: o.get("boxes", []) for w, o in objects.items() if isinstance(o, Mapping)}
            boxes[index] = known
    return {"points": content, "boxes": boxes}


_Scores = tuple[float, float, list[float]]
"""Start and length of a row in seconds, and the score of each row."""


def _scores(log: Mapping[str, Any]) -> dict[str, _Scores]:
    heard = log.get("heard")
    if not isinstance(heard, Mapping) or not isinstance(heard.get("words"), Mapping):
        return {}
    start_s, row_s = heard.get("start_s"), heard.get("row_s")
    if not isinstance(start_s, int | float) or not isinstance(row_s, int | float):
        return {}
    return {
        word: (float(start_s), float(row_s), [float(p) for p in column])
        for word, column in heard["words"].items()
        if isinstance(column, list) and all(isinstance(p, int | float) for p in column)
    }


def _curve(start_s: float, row_s: float, scores: Sequence[float]) -> str:
    corners = []
    for n, score in enumerate(scores):
        left, right = (100 * (start_s + k * row_s) for k in (n, n + 1))
        top = HEIGHT * (1 - min(1.0, max(0.0, score)))
        corners += [f"{left:.1f},{top:.1f}", f"{right:.1f},{top:.1f}"]
    return " ".join(corners)
