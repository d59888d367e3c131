"""The report as tables for a terminal."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from coprop_plugin.benchmark.plug_and_play.lost_scores import losses

_WIDTH = 200
_MASKS = {
    "M_J": "M_J",
    "M_F": "M_F",
    "class_mIoU": "mIoU",
    "avsbench_mIoU": "mIoU as AVSBench",
    "AR": "AR",
    "silent_FPR": "silent FPR",
}
_TIMING = {
    "onset_error_s": "onset, s",
    "offset_error_s": "offset, s",
    "F1@0": "points F1",
    "F1@1": "within 1",
    "calls": "calls",
    "seconds": "s a clip",
    "cpu_seconds": "CPU s",
    "peak_mb": "MiB",
    "gpu_mb": "GPU MiB",
}
_ROBUST = {
    "FPR_silence": "FPR silence",
    "FPR_noise": "noise",
    "FPR_off_screen": "off-screen",
    "M_J_silence": "M_J silence",
    "M_J_noise": "noise",
    "M_J_off_screen": "off-screen",
    "FPR": "FPR",
    "G-mIoU": "G-mIoU",
    "G-F": "G-F",
}
_PARTS = {
    "key frames": ("all", "M_J_key"),
    "normal": ("all", "M_J_normal"),
    "changing": ("changing", "M_J"),
    "unchanging": ("unchanging", "M_J"),
    "with silence": ("with_silence", "M_J"),
    "without": ("without_silence", "M_J"),
}

_TABLES = {"Masks": _MASKS, "Negative audio": _ROBUST, "Timing and cost": _TIMING}


def as_text(results: Sequence[Mapping[str, Any]], wrong: float = 0.0) -> str:
    """Return tables: masks, timing and cost of all clips, and M_J of parts of them.

    With negative audio (see `benchmark.robust`) there is a table of its scores, too.

    A number is the mean over sets of clips, with its standard deviation if there are several.

    Args:
        results: `Report.results`.
        wrong: Share of the predictions that are wrong, if models were scored with such, too. A
            further table says what each row loses.
    """
    whole = [result for result in results if result["part"] == "all"]
    by_place = {(r["backend"], r["row"], r["part"]): r for r in results}
    tables = []
    for title, columns in _TABLES.items():
        known = {n: header for n, header in columns.items() if any(_has(r, n) for r in whole)}
        if not known:
            continue
        table = _table(f"{title}, all clips", "clips", *known.values())
        for result in whole:
            cells = (_cell(result, name) for name in known)
            table.add_row(result["backend"], result["row"], str(result["clips"]), *cells)
        tables.append(table)
    parts = _table("M_J of parts: frames, clips", *_PARTS)
    for result in whole:
        place = (result["backend"], result["row"])
        cells = (_cell(by_place[(*place, part)], name) for part, name in _PARTS.values())
        parts.add_row(*place, *cells)
    tables.append(parts)
    if lines := losses(results, wrong):
        tables.append(_losses(lines, wrong))
    text = io.StringIO()
    Console(file=text, width=_WIDTH).print(*tables, sep="\n")
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip()


def _losses(lines: Sequence[Mapping[str, Any]], wrong: float) -> Table:
    """Return the table of what wrong predictions cost."""
    headers = ("M_J", "wrong", "lost", "of bare's", "AR", "wrong", "calls", "wrong")
    table = _table(f"With {100 * wrong:.3g} % of the predictions wrong, all clips", *headers)
    for line in lines:
        share = "-" if line["of_bare"] is None else f"{line['of_bare']:.0%}"
        pairs = [[f"{score:.3f}" for score in line[name]] for name in ("M_J", "AR", "calls")]
        cells = [*pairs[0], f"{line['lost']:.3f}", share, *pairs[1], *pairs[2]]
        table.add_row(line["backend"], line["row"], *cells)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table("backend", "row", title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _has(result: Mapping[str, Any], name: str) -> bool:
    return result["mean"].get(name) is not None


def _cell(result: Mapping[str, Any], name: str) -> str:
    mean, std = result["mean"].get(name), result["std"].get(name)
    if mean is None:
        return "-"
    digits = {"peak_mb": 0, "gpu_mb": 0, "seconds": 2, "cpu_seconds": 2}.get(name, 3)
    return f"{mean:.{digits}f}" + (f"±{std:.{digits}f}" if std is not None else "")
