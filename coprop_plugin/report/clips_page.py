"""The table of many runs: the worst first, each with a link to its page."""

import os
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from coprop_plugin import __version__, media
from coprop_plugin.errors import ReportError
from coprop_plugin.report.html import Markup, fill
from coprop_plugin.report.page import Report


class _Column(NamedTuple):
    field: str
    title: str
    says: Callable[[float], str]
    bar: bool = False
    minor: bool = False


_COLUMNS = (
    _Column("score", "IoU", "{:.3f}".format, bar=True),
    _Column("bare_score", "Model alone", "{:.3f}".format, bar=True),
    _Column("least_confidence", "Least sure frame", "{:.3f}".format, bar=True),
    _Column("mean_confidence", "Confidence", "{:.3f}".format, minor=True),
    _Column("mean_area", "Area", "{:.1%}".format, minor=True),
    _Column("silent_share", "Silent", "{:.0%}".format, minor=True),
    _Column("num_points", "Control points", "{:.0f}".format),
    _Column("num_frames", "Frames", "{:.0f}".format, minor=True),
    _Column("duration_s", "Length", "{:.1f} s".format, minor=True),
)


def write_clips_page(reports: Sequence[Report], path: str | Path, title: str = "Clips") -> Path:
    """Write a sortable table of reports; the worst clip is first.

    Worst is the lowest score where the truth of every clip is known, else the least confident
    frame. Links are relative, so that the folder may be moved.

    Args:
        reports: What `write_report` gave.
        path: Where to write the page.
        title: Its heading.

    Returns:
        The path.

    Raises:
        MediaError: If the page cannot be written.
        ReportError: If there are no reports.
    """
    if not reports:
        raise ReportError("Got no reports to list. Name at least one results folder.")
    path = Path(path)
    by = "least_confidence" if any(r.score is None for r in reports) else "score"
    ordered = sorted(reports, key=lambda report: getattr(report, by))
    columns = [c for c in _COLUMNS if any(getattr(r, c.field) is not None for r in ordered)]
    fields = ["name", *(column.field for column in columns)]
    values = {
        "title": title,
        "version": __version__,
        "facts": Markup("".join(f"<li>{escape(fact)}</li>" for fact in _facts(ordered))),
        "order": _ORDERS[by],
        "head": _head(columns, by),
        "rows": Markup("".join(_row(k, r, columns, path) for k, r in enumerate(ordered))),
    }
    clips = [{field: getattr(report, field) for field in fields} for report in ordered]
    return media.write_text(path, fill("index", values, {"columns": fields, "clips": clips}))


_ORDERS = {
    "score": "The clips with the lowest score come first.",
    "least_confidence": "The clips with the least confident frame come first.",
}


def _facts(reports: Sequence[Report]) -> list[str]:
    facts = [f"{len(reports)} clip{'s' if len(reports) > 1 else ''}"]
    for field, says in (("score", "mean IoU"), ("bare_score", "model alone")):
        known = [getattr(r, field) for r in reports if getattr(r, field) is not None]
        if known:
            facts.append(f"{says} {sum(known) / len(known):.3f}")
    return facts


def _head(columns: Sequence[_Column], by: str) -> Markup:
    cells = ['<th scope="col"><button type="button">Clip</button></th>']
    for column in columns:
        order = ' aria-sort="ascending"' if column.field == by else ""
        kind = "number small" if column.minor else "number"
        cells.append(
            f'<th scope="col" class="{kind}"{order}><button type="button">{column.title}</button>'
            "</th>"
        )
    return Markup("".join(cells))


def _row(number: int, report: Report, columns: Sequence[_Column], page: Path) -> str:
    # A name like "javascript:x" is no scheme behind "./".
    way = Path(os.path.relpath(report.path.resolve(), page.parent.resolve())).as_posix()
    name = escape(report.name)
    cells = [
        f'<th scope="row"><a href="./{quote(os.fsencode(way))}">'
        f'<img src="{escape(report.still)}" alt="">{name}</a></th>'
    ]
    for column in columns:
        value = getattr(report, column.field)
        says = "–" if value is None else column.says(value)
        bar = ""
        if column.bar and value is not None:
            bar = (
                f'<progress class="bar" value="{value:.4f}" max="1" aria-hidden="true"></progress>'
            )
        kind = "number small" if column.minor else "number"
        cells.append(f'<td class="{kind}">{says}{bar}</td>')
    return f'<tr data-clip="{number}">{"".join(cells)}</tr>'
