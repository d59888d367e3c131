"""Reading and checking the tables that list a data set's clips, and lists of clip ids."""

import csv
import io
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from coprop_plugin.errors import DatasetError, DatasetWarning, some_names
from coprop_plugin.limits import read_text
from coprop_plugin.media import refuse_missing, write_text

_ID_COLUMNS = ("video_id", "name", "uid", "id")


@dataclass(frozen=True)
class Row:
    """One line of a table of clips.

    Attributes:
        id: Name of the clip, a plain file name.
        values: Column name to text, for the requested columns; plain file names as well.
        line: Line number in the file; the header is line 1.
    """

    id: str
    values: dict[str, str]
    line: int


def read_rows(path: Path, columns: Sequence[str], id_column: str | None = None) -> list[Row]:
    """Read a table of clips, with or without a byte order mark and with any line ends.

    Args:
        path: A CSV file with a header.
        columns: Required columns.
        id_column: The column with the clip's name; by default the one called `video_id`, `name`,
            `uid` or `id`, and if there is none of these, the first one, whatever its header.

    Returns:
        One row a clip, in the order of the file; a line that is there twice counts once.

    Warns:
        DatasetWarning: If lines were there twice.

    Raises:
        DatasetError: If the file is missing or not a table, lacks a column, or has no rows; or if
            a name in it is not a plain file name (`..`, `/`, a drive), as that could lead out of
            the data folder. The message lists those lines.
    """
    lines = _lines(path)
    header = [name.strip() for name in lines[0]] if lines else []
    wanted = [*columns, *([id_column] if id_column else [])]
    lacking = [name for name in wanted if name not in header]
    if lacking:
        raise DatasetError(
            f"{path} has no column {' and no column '.join(map(repr, lacking))}; it has: "
            f"{', '.join(header) or 'nothing'}. Use the table that came with the data set."
        )
    named = [name for name in (id_column, *_ID_COLUMNS) if name in header]
    id_place = header.index(named[0]) if named else 0
    rows, bad = [], []
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        cells = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
        values = {name: cells[header.index(name)] for name in columns}
        rows.append(Row(cells[id_place], values, number))
        unsafe = [name for name in (cells[id_place], *values.values()) if not is_plain_name(name)]
        bad += [f"line {number}: {name!r}"[:90] for name in unsafe[:1]]
    if bad:
        raise DatasetError(
            f"{path} has {len(bad)} lines whose names could lead out of the data folder, or are "
            f"empty: {'; '.join(bad[:8])}. Expected plain file names. Remove these lines; nothing "
            "was read."
        )
    if not rows:
        raise DatasetError(f"{path} lists no clips: it has only a header.")
    return _once(rows, path)


def _once(rows: Sequence[Row], path: Path) -> list[Row]:
    """Return rows without those that repeat an earlier one."""
    kept = {(row.id, *row.values.items()): row for row in reversed(rows)}
    if len(kept) < len(rows):
        lines = sorted({row.line for row in rows} - {row.line for row in kept.values()})
        warnings.warn(
            f"{path} lists {len(lines)} clips twice, in lines "
            f"{some_names([str(line) for line in lines])}. They count once.",
            DatasetWarning,
            stacklevel=4,
        )
    return list(reversed(kept.values()))


def _lines(path: Path) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(read_text(path, DatasetError), newline="")))
    except FileNotFoundError as error:
        refuse_missing(path.parent, "folder", DatasetError)
        raise DatasetError(
            f"There is no {path}. Give the folder of the data set that holds it, or the table as "
            "`meta`."
        ) from error
    except DatasetError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(
            f"{path} cannot be read as a table ({str(error)[:120]}). Expected CSV text in UTF-8."
        ) from error


def is_plain_name(name: str) -> bool:
    """Whether a name is a plain file name: no folder, no drive, not `..`, all printable.

    Example:
        >>> [is_plain_name(name) for name in ("a-b_1.x", "..", "a/b", "C:a", "")]
        [True, False, False, False, False]
    """
    return (
        name not in ("", ".", "..")
        and name.isprintable()
        and len(name.encode()) <= 200
        and PurePosixPath(name).name == name
        and PureWindowsPath(name).name == name
    )


def of_split(rows: Sequence[Row], split: str | None, path: Path) -> list[Row]:
    """Return the rows of one split; of all splits for None.

    Raises:
        DatasetError: If there are none; the message lists the splits.
    """
    chosen = [row for row in rows if split is None or row.values["split"] == split]
    if not chosen:
        counts = Counter(row.values["split"] for row in rows)
        splits = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
        raise DatasetError(f"{path} has no clips of split {split!r}. It has: {splits}.")
    return chosen


def of_ids(rows: Sequence[Row], ids: Sequence[str] | str | Path | None, path: Path) -> list[Row]:
    """Return the rows of the named clips, in their order; all of them for None.

    Raises:
        DatasetError: If one is not in the table.
    """
    if ids is None:
        return list(rows)
    names = read_ids(ids) if isinstance(ids, str | Path) else list(ids)
    known = {row.id: row for row in rows}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DatasetError(
            f"{len(unknown)} clip ids are not in {path} (or not of this split): "
            f"{', '.join(map(repr, unknown[:8]))}. Check the list, and the split."
        )
    return [known[name] for name in names]


def write_ids(path: str | Path, ids: Sequence[str]) -> Path:
    """Write a list of clips, one id a line, for the `ids` option of the data sets.

    Raises:
        MediaError: If the file cannot be written.

    Example:
        >>> write_ids("moc_test.txt", ["abc", "def"])  # doctest: +SKIP
        PosixPath('moc_test.txt')
    """
    return write_text(path, "".join(f"{name}\n" for name in ids))


def read_ids(path: str | Path) -> list[str]:
    """Read a file of `write_ids`; empty lines and lines that begin with `#` are skipped.

    Raises:
        DatasetError: If the file cannot be read, or lists no clips.
    """
    try:
        lines = read_text(path, DatasetError).splitlines()
    except DatasetError:
        raise
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} cannot be read as a list of clips ({error}). Expected one id a line."
        ) from error
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise DatasetError(f"{path} lists no clips. Expected one id a line.")
    return names
