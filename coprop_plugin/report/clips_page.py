"""The table of many runs: the worst first, each with a link to its page."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote

from coprop_plugin import media
from coprop_plugin.errors import ReportError
from coprop_plugin.report.page_template import render_page
from coprop_plugin.report.run_page import Report


class _Column(NamedTuple):
    field: str
    title: str
    text: Callable[[float], str]
    has_bar: bool = False
    minor: bool = False


class _Cell(NamedTuple):
    text: str
    minor: bool
    share: float | None
    """Length of the bar below the text, in [0, 1]; None for no bar."""


class _Row(NamedTuple):
    name: str
    link: str
    still: str
    cells: list[_Cell]


_COLUMNS = (
    _Column("score", "IoU", "{:.3f}".format, has_bar=True),
    _Column("bare_score", "Model alone", "{:.3f}".format, has_bar=True),
    _Column("least_confidence", "Lowest confidence", "{:.3f}".format, has_bar=True),
    _Column("mean_confidence", "Confidence", "{:.3f}".format, minor=True),
    _Column("mean_area", "Area", "{:.1%}".format, minor=True),
    _Column("silent_share", "Silent", "{:.0%}".format, minor=True),
    _Column("num_points", "Control points", "{:.0f}".format),
    _Column("num_frames", "Frames", "{:.0f}".format, minor=True),
    _Column("duration_s", "Length", "{:.1f} s".format, minor=True),
)
_Order = Literal["score", "least_confidence"]
_ORDERS: dict[_Order, str] = {
    "score": "The clips with the lowest score come first.",
    "least_confidence": "The clips with the least confident frame come first.",
}


def write_clips_page(reports: Sequence[Report], path: str | Path, title: str = "Clips") -> Path:
    """Write a sortable table of reports; the worst clip is first.

    The worst has the lowest score if the truth of every clip is known, else the least confident
    frame. Links are relative, so the folder can be moved.

    Args:
        reports: What `write_report` returned.
        path: Where to write the page.
        title: Its heading.

    Returns:
        The path.

    Raises:
        MediaError: If the page cannot be written.
        ReportError: If there are no reports.
    """
    if not reports:
        raise ReportError("Expected at least one report, got none. Name a results folder.")
    path = Path(path)
    by: _Order = "least_confidence" if any(r.score is None for r in reports) else "score"
    ordered = sorted(reports, key=lambda report: getattr(report, by))
    columns = [c for c in _COLUMNS if any(getattr(r, c.field) is not None for r in ordered)]
    fields = ["name", *(column.field for column in columns)]
    values = {
        "title": title,
        "facts": _facts(ordered),
        "order": _ORDERS[by],
        "columns": columns,
        "sorted_by": by,
        "rows": [_row(report, columns, path) for report in ordered],
    }
    clips = [{field: getattr(report, field) for field in fields} for report in ordered]
    data = {"columns": fields, "clips": clips}
    return media.write_text(path, render_page("clips", values, data))


def _facts(reports: Sequence[Report]) -> list[str]:
    facts = [f"{len(reports)} clip{'s' if len(reports) > 1 else ''}"]
    for field, title in (("score", "mean IoU"), ("bare_score", "model alone")):
        known = [getattr(r, field) for r in reports if getattr(r, field) is not None]
        if known:
            facts.append(f"{title} {sum(known) / len(known):.3f}")
    return facts


def _row(report: Report, columns: Sequence[_Column], page: Path) -> _Row:
    relative = Path(os.path.relpath(report.path.resolve(), page.parent.resolve())).as_posix()
    # Behind "./" a name like "javascript:x" is not a URL scheme.
    link = f"./{quote(os.fsencode(relative))}"
    return _Row(report.name, link, report.still, [_cell(report, column) for column in columns])


def _cell(report: Report, column: _Column) -> _Cell:
    value = getattr(report, column.field)
    text = "–" if value is None else column.text(value)
    return _Cell(text, column.minor, value if column.has_bar else None)
