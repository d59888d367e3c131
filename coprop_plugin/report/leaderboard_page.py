"""One page for many models, rows and data sets: a sortable table, and the worst clips of each."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coprop_plugin import media
from coprop_plugin.errors import ReportError
from coprop_plugin.report.page_template import render_page


class _Column(NamedTuple):
    score: str
    title: str
    digits: int = 3
    low_is_good: bool = False
    minor: bool = False


_COLUMNS = (
    _Column("M_J", "M_J"),
    _Column("M_F", "M_F"),
    _Column("class_mIoU", "mIoU"),
    _Column("AR@0.3", "AR at 0.3", minor=True),
    _Column("AR@0.5", "AR at 0.5"),
    _Column("AR@0.7", "AR at 0.7", minor=True),
    _Column("onset_error_s", "Onset error, s", low_is_good=True),
    _Column("offset_error_s", "Offset error, s", low_is_good=True),
    _Column("silent_FPR", "Silent frames painted", low_is_good=True),
    _Column("FPR", "FPR, negative audio", low_is_good=True),
    _Column("G-mIoU", "G-mIoU"),
    _Column("calls", "Calls a frame", 2, low_is_good=True),
    _Column("seconds", "s a clip", 2, low_is_good=True, minor=True),
    _Column("peak_mb", "MiB", 0, low_is_good=True, minor=True),
)
_TEXTS = ("backend", "row", "data")


class _Result(NamedTuple):
    result: Mapping[str, Any]
    about: Mapping[str, Any]
    data: str


class _Cell(NamedTuple):
    text: str
    spread: str
    is_best: bool
    minor: bool


class _Line(NamedTuple):
    backend: str
    row: str
    data: str
    cells: list[_Cell]
    worst: Sequence[Mapping[str, Any]]
    facts: list[tuple[str, str]]


def write_leaderboard(
    reports: Sequence[Mapping[str, Any]], path: str | Path, title: str = "Leaderboard"
) -> Path:
    """Write one page of the scores of several benchmarks.

    It is made from the reports alone, so that those of several people can be put together. A line
    that several of them have is shown once.

    Args:
        reports: What `read_bench` returned.
        path: Where to write the page.
        title: Its heading.

    Returns:
        The path.

    Raises:
        MediaError: If the page cannot be written.
        ReportError: If no report has scores.
    """
    results = _results(reports)
    if not results:
        raise ReportError(
            "Expected reports with scores, got none. Name report.json files of `coprop bench`."
        )
    columns = [
        c for c in _COLUMNS if any(r.result["mean"].get(c.score) is not None for r in results)
    ]
    lines = [_line(result, columns, results) for result in results]
    rows = [
        {text: getattr(line, text) for text in _TEXTS}
        | {column.score: result.result["mean"].get(column.score) for column in columns}
        for line, result in zip(lines, results, strict=True)
    ]
    data_names = list(dict.fromkeys(line.data for line in lines))
    count = len({line.backend for line in lines})
    values = {
        "title": title,
        "facts": [
            _plural(len(lines), "line"),
            _plural(count, "model"),
            _plural(len(data_names), "data set"),
        ],
        "columns": columns,
        "lines": lines,
        "data_names": data_names,
    }
    data = {"columns": [*_TEXTS, *(c.score for c in columns)], "clips": rows}
    return media.write_text(Path(path), render_page("leaderboard", values, data))


def _plural(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _results(reports: Sequence[Mapping[str, Any]]) -> list[_Result]:
    """Return the results over all clips, the best M_J first, each once."""
    found: dict[str, _Result] = {}
    for report in reports:
        about = report["about"]
        for result in report["results"]:
            if result["part"] == "all" and result["mean"]:
                names = ("backend", "row", "mean", "made_by")
                key = json.dumps([_data_of(about), *(result[n] for n in names)], sort_keys=True)
                found.setdefault(key, _Result(result, about, _data_of(about)))
    # Clips that differ are not compared, though their sets have the same name.
    clips = {
        name: {_clips_of(r) for r in found.values() if r.data == name}
        for name in {r.data for r in found.values()}
    }
    named = [
        r._replace(data=f"{r.data} #{_clips_of(r)}") if len(clips[r.data]) > 1 else r
        for r in found.values()
    ]
    return sorted(named, key=lambda r: -(r.result["mean"].get("M_J") or 0.0))


def _clips_of(result: _Result) -> str:
    """Return a short hash of the clips of a result: of their fingerprints, if it has any."""
    names = [result.about.get(name) for name in ("settings", "sets")]
    known = result.result["made_by"].get("data") or names
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:4]


def _data_of(about: Mapping[str, Any]) -> str:
    settings = about.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    name = str(settings.get("data") or ", ".join(map(str, about.get("sets") or ["unknown"])))
    return name + (", negative audio" if "robust" in settings else "")


def _line(result: _Result, columns: Sequence[_Column], results: Sequence[_Result]) -> _Line:
    rivals = [other.result["mean"] for other in results if other.data == result.data]
    cells = [_cell(result.result, column, rivals) for column in columns]
    backend, row, made_by = (result.result[n] for n in ("backend", "row", "made_by"))
    facts = [("clips", str(result.result["clips"])), *_facts(made_by, result.about, backend)]
    return _Line(backend, row, result.data, cells, result.result["worst"], facts)


def _cell(result: Mapping[str, Any], column: _Column, rivals: Sequence[Mapping[str, Any]]) -> _Cell:
    mean, std = result["mean"].get(column.score), result["std"].get(column.score)
    if mean is None:
        return _Cell("–", "", False, column.minor)
    known = [score for rival in rivals if (score := rival.get(column.score)) is not None]
    best = min(known) if column.low_is_good else max(known)
    text, spread = (
        "" if number is None else f"{number:.{column.digits}f}" for number in (mean, std)
    )
    return _Cell(text, spread, mean == best and len(set(known)) > 1, column.minor)


def _facts(
    made_by: Mapping[str, Any], about: Mapping[str, Any], backend: str
) -> list[tuple[str, str]]:
    """Return what made a line's numbers, by name."""
    facts: list[tuple[str, str]] = []
    backends = about.get("backends")
    weights = backends.get(backend) if isinstance(backends, dict) else None
    if isinstance(weights, dict):
        facts.append(("model", ", ".join(f"{k} {v}" for k, v in weights.items())))
    for name in ("backend", "propagator", "provider"):
        if made_by.get(name):
            facts.append((f"fingerprint of the {name}", str(made_by[name])))
    data = made_by.get("data")
    if isinstance(data, dict):
        facts += [(f"fingerprint of {name}", str(text)) for name, text in data.items()]
    versions = made_by.get("versions")
    facts += [("versions", str(text)) for text in (versions if isinstance(versions, list) else [])]
    command = about.get("command")
    if isinstance(command, list):
        facts.append(("command", "coprop " + shlex.join(map(str, command))))
    return facts
