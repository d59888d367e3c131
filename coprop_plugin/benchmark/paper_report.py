"""The results of a table of the paper: beside the paper's numbers, in text, JSON, CSV."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from coprop_plugin.benchmark.paper_tables import (
    Numbers,
    PaperCell,
    PaperTable,
    read_table,
)
from coprop_plugin.choices import TableName
from coprop_plugin.errors import ReportError, short_reason
from coprop_plugin.limits import read_text
from coprop_plugin.media import write_text

FORMAT = "coprop.paper/1"
_COLUMNS = ("row", "method", "set", "measures", "paper", "ours", "difference", "clips", "ran")


@dataclass(frozen=True)
class CellResult:
    """What came of one cell.

    Attributes:
        cell: The cell.
        ours: Our numbers; None if it was not run, or a score is undefined.
        clips: Number of clips that were scored.
        ran: What ran, by part: `provider`, `keyframes`, `propagator`; each in JSON types.
        missing: What it lacks to be run.
        failures: Why clips failed.
    """

    cell: PaperCell
    ours: Numbers | None = None
    clips: int = 0
    ran: Mapping[str, Any] = field(default_factory=dict)
    missing: Sequence[str] = ()
    failures: Sequence[str] = ()

    @property
    def difference(self) -> Numbers | None:
        """Ours minus the paper's."""
        if self.ours is None or self.cell.paper is None:
            return None
        return tuple(round(a - b, 3) for a, b in zip(self.ours, self.cell.paper, strict=True))

    @property
    def summary(self) -> str:
        """What ran, or what is missing, in a line."""
        if self.missing:
            return "not run: " + "; ".join(self.missing)
        parts = [f"{part}: {_short(about)}" for part, about in self.ran.items()]
        if self.cell.differs:
            parts.append(self.cell.differs.rstrip("."))
        if self.failures:
            parts.append(f"{len(self.failures)} clips failed")
        return "; ".join(parts) or "counted"

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON types."""
        cell = self.cell
        return {
            "row": cell.row,
            "method": cell.method,
            "set": cell.set,
            "measures": list(cell.measures),
            "paper": cell.paper,
            "ours": self.ours,
            "difference": self.difference,
            "clips": self.clips,
            "ran": dict(self.ran),
            "missing": list(self.missing),
            "failures": list(self.failures),
            "differs": cell.differs,
        }


def _short(about: Mapping[str, Any]) -> str:
    """Return the name of a part, and what tells its version."""
    parts = [str(about["name"])]
    if about.get("sha256"):
        parts.append(str(about["sha256"])[:8])
    if about.get("llm"):
        parts.append(f"asking {about['llm']['model_id']}, prompts {about['prompts']}")
    if about.get("store"):
        parts.append(f"store {about['store']}")
    return " ".join(parts)


def as_markdown(table: PaperTable, results: Sequence[CellResult]) -> str:
    """Return the results as a table of Markdown whose columns are aligned, and notes below it.

    The notes say what ran, or what is missing.

    Example:
        >>> from coprop_plugin.benchmark.paper_tables import read_table
        >>> table = read_table("table3")
        >>> text = as_markdown(table, [CellResult(table.cells[1], (64, 1.4, 26.56), 64)])
        >>> print(text.splitlines()[4])
        | MS3 | MS3 | Videos / Avg. Cate / Category Changes | 64 / 1.375 / 26.56 | \
64 / 1.4 / 26.56 | +0 / +0.025 / +0 | 1    |
    """
    lines = [["row", "set", "measures", "paper", "ours", "difference", "note"]]
    notes: dict[str, int] = {}
    for result in results:
        cell = result.cell
        numbers = [_numbers(cell.paper), _numbers(result.ours), _numbers(result.difference, "+")]
        note = notes.setdefault(result.summary, len(notes) + 1)
        lines.append([_title(cell), cell.set, " / ".join(cell.measures), *numbers, str(note)])
    listed = [f"{number}. {text}" for text, number in notes.items()]
    return "\n".join([table.title, "", *_aligned(lines), "", *listed, "", table.differs])


def list_of_rows(names: Sequence[str] = ()) -> str:
    """Return every row of some tables, or of all, with the paper's numbers and what it needs.

    Example:
        >>> print(list_of_rows(["table3"]).splitlines()[4][:40])
        | S4  | S4  | 740 / 1 / 0        | the l
    """
    texts = []
    for table in map(read_table, names or get_args(TableName)):
        lines = [["row", "set", "paper", "runs"]]
        lines += [[_title(c), c.set, _numbers(c.paper), _needs(c)] for c in table.cells]
        texts.append("\n".join([f"{table.title} (`{table.name}`)", "", *_aligned(lines)]))
    return "\n\n".join(texts)


def rows_of(names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the rows of `list_of_rows` in JSON types: `table`, `row`, `set`, ....

    Example:
        >>> rows_of(["table2b"])[0]["set"]
        'S4'
    """
    return [
        {
            "table": cell.table,
            "row": cell.row,
            "set": cell.set,
            "measures": cell.measures,
            "paper": cell.paper,
            "runs": _needs(cell),
        }
        for table in map(read_table, names or get_args(TableName))
        for cell in table.cells
    ]


def _needs(cell: PaperCell) -> str:
    """Return what runs in a cell, and so what it needs besides its test clips."""
    if cell.kind == "statistics":
        return "the labels of AVSS"
    if not cell.model:
        return f"code: {cell.code}"
    if not cell.points:
        return f"{cell.weights} alone"
    return f"{cell.points}, {cell.weights}, {cell.propagator}"


def _title(cell: PaperCell) -> str:
    return f"{cell.row}: {cell.method}" if cell.method != cell.row else cell.row


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return a table of Markdown whose first line is the header."""
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    return [
        f"| {' | '.join(part.ljust(w) for part, w in zip(line, widths, strict=True))} |"
        for line in (lines[0], rule, *lines[1:])
    ]


def _numbers(numbers: Numbers | None, sign: str = "") -> str:
    if numbers is None:
        return "-"
    return " / ".join(f"{round(number, 3):{sign}g}" for number in numbers)


def save_results(
    folder: Path, table: PaperTable, results: Sequence[CellResult], about: Mapping[str, Any]
) -> list[Path]:
    """Write `NAME.json`, `NAME.csv` and `NAME.md`.

    Raises:
        MediaError: If they cannot be written.
    """
    content = {
        "format": FORMAT,
        "table": table.name,
        "title": table.title,
        "differs": table.differs,
        "rows": [result.to_dict() for result in results],
        "about": dict(about),
    }
    texts = {
        "json": json.dumps(content, indent=1, default=str) + "\n",
        "csv": _csv(results),
        "md": as_markdown(table, results) + "\n",
    }
    return [write_text(folder / f"{table.name}.{kind}", text) for kind, text in texts.items()]


def read_results(path: str | Path) -> dict[str, Any]:
    """Read the `NAME.json` of a table as if it were the report of a benchmark.

    Returns:
        `about`, and `results`: of each row and set that was run, `backend` (the row), `row` (the
        set), `part`, `mean` (our numbers by measure) and `made_by`.

    Raises:
        ReportError: If it is not the results of a table.
    """
    try:
        content = json.loads(read_text(Path(path), ReportError))
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {str(content['format'])[:40]!r}, not {FORMAT!r}")
        about = dict(content["about"])
        results = [
            {
                "backend": str(row["row"]),
                "row": str(row["set"]),
                "part": "all",
                "mean": dict(zip(row["measures"], row["ours"], strict=True)),
                "made_by": _made_by(row["ran"], about.get("versions", {})),
            }
            for row in content["rows"]
            if row["ours"]
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ReportError(
            f"{path} does not hold the results of a table ({short_reason(error)}). Write it again "
            "with `coprop reproduce TABLE`."
        ) from error
    return {"about": about, "results": results}


def _made_by(ran: Mapping[str, Any], versions: Mapping[str, Any]) -> dict[str, Any]:
    parts = {"backend": "keyframes", "propagator": "propagator", "provider": "provider"}
    made_by: dict[str, Any] = {name: ran.get(part) for name, part in parts.items()}
    return made_by | {"versions": [f"{name} {version}" for name, version in versions.items()]}


def _csv(results: Sequence[CellResult]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for result in results:
        row = result.to_dict() | {"ran": result.summary}
        cells = (row[name] for name in _COLUMNS)
        writer.writerow(" ".join(map(str, c)) if isinstance(c, list | tuple) else c for c in cells)
    return text.getvalue()
