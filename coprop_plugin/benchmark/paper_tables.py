"""The tables and figures of the paper: their rows, and what each of them runs.

Each is a config in `coprop_plugin/configs/paper/`: `title`, `measures` by set of clips, `rows`, and
what `differs` from the paper.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from coprop_plugin.choices import TableName
from coprop_plugin.errors import UnknownNameError
from coprop_plugin.training.run import CONFIGS

SetName = Literal["S4", "MS3", "AVSS", "MOC"]
"""Sets of test clips; MOC is a part of MS3."""

Numbers = tuple[float, ...]
"""The numbers of a cell, one a measure; scores in percent."""


@dataclass(frozen=True)
class PaperCell:
    """One row of a table on one set of clips.

    Attributes:
        table: The table.
        row: Name of the row.
        set: The set of clips.
        method: The row's title in the paper.
        measures: Names of the numbers.
        paper: The paper's numbers; None where it has none in its text.
        model: Name of the keyframe model, as for `load_backend`; empty if there is no code.
        weights: Name of its weights, without folder and suffix.
        points: Name of the control-point provider; empty for the model alone, on every frame.
        propagator: Name of the propagator's weights.
        part: Frames to score: all, key frames, or the others.
        kind: Whether masks are scored, or the clips are counted.
        size: Side of the frames in pixels.
        code: Where authors' code is, for models that are not built in.
        differs: What is done otherwise than in the paper, and why.

    Example:
        >>> cell = read_table("table2b").select(["rcpg"], ["MS3"])[0]
        >>> cell.bench_row, cell.weights, cell.paper
        ('rcpg+ms3_propagator', 'ms3_keyframes_1b', (63.58, 73.96))
    """

    table: TableName
    row: str
    set: SetName
    method: str
    measures: tuple[str, ...]
    paper: Numbers | None
    model: str = ""
    weights: str = ""
    points: str = ""
    propagator: str = ""
    part: Literal["all", "key", "normal"] = "all"
    kind: Literal["masks", "statistics"] = "masks"
    size: int = 224
    code: str = ""
    differs: str = ""

    @property
    def subset(self) -> SetName:
        """The data set that holds the clips."""
        return "MS3" if self.set == "MOC" else self.set

    @property
    def bench_row(self) -> str:
        """The row of `plug_and_play` that gives the numbers."""
        return f"{self.points}+{self.propagator}" if self.points else "bare"

    def numbers(self, scores: Mapping[str, float | None]) -> Numbers | None:
        """Return the cell's measures among scores, in percent; None if one is not there."""
        suffix = "" if self.part == "all" else f"_{self.part}"
        found = [scores.get(f"{name}{suffix}") for name in self.measures]
        known = [round(100 * score, 2) for score in found if score is not None]
        return tuple(known) if len(known) == len(found) else None


@dataclass(frozen=True)
class PaperTable:
    """A table or figure of the paper.

    Attributes:
        name: Its name.
        title: Its title.
        differs: What is done otherwise than in the paper, in all rows.
        cells: Its rows, each on every set that the paper has numbers of.
    """

    name: TableName
    title: str
    differs: str
    cells: Sequence[PaperCell]

    def select(self, rows: Sequence[str] = (), sets: Sequence[str] = ()) -> list[PaperCell]:
        """Return some of the cells.

        Args:
            rows: Names of rows, or patterns like `ours-*`; none for all.
            sets: Names of sets; none for all.

        Raises:
            UnknownNameError: If a name fits no cell of the table.
        """
        known = {"row": rows, "set": sets}
        for field, names in known.items():
            present = list(dict.fromkeys(getattr(cell, field) for cell in self.cells))
            for name in names:
                if not any(fnmatchcase(other, name) for other in present):
                    raise UnknownNameError(
                        f"{name!r} is not a {field} of {self.name}. There are: "
                        f"{', '.join(present)}."
                    )
        return [
            cell
            for cell in self.cells
            if all(
                not names or any(fnmatchcase(getattr(cell, field), name) for name in names)
                for field, names in known.items()
            )
        ]


def read_table(name: str) -> PaperTable:
    """Read a table of the paper.

    Raises:
        UnknownNameError: If there is no such table.

    Example:
        >>> read_table("table5").title
        'Table 5: layers of the Audio-Insert Propagator, PVT-v2'
    """
    if name not in get_args(TableName):
        raise UnknownNameError(
            f"{name!r} is not a table or figure. There are: {', '.join(get_args(TableName))}."
        )
    from mmengine import Config

    config = Config.fromfile(CONFIGS / "paper" / f"{name}.py").to_dict()
    cells = [
        _cell(name, config["measures"], row, set_name)
        for row in config["rows"]
        for set_name in row["paper"]
    ]
    return PaperTable(cells[0].table, config["title"], config["differs"], cells)


def _cell(table: str, measures: Mapping[str, Any], row: dict[str, Any], set_name: str) -> PaperCell:
    folder = ("MS3" if set_name == "MOC" else set_name).lower()
    given: dict[str, Any] = {f.name: row[f.name] for f in fields(PaperCell) if f.name in row}
    given |= {
        key: given[key].format(set=folder) for key in ("weights", "propagator") if key in given
    }
    paper = row["paper"][set_name]
    given |= {
        "table": table,
        "row": row["name"],
        "set": set_name,
        "measures": tuple(measures[set_name]),
        "paper": None if paper is None else tuple(paper),
        "size": row.get("size", {}).get(set_name, PaperCell.size),
    }
    return PaperCell(**given)
