"""Benchmark scores as bars: each model alone and with the parts of Co-Prop (Figure 4)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coprop_plugin.errors import MetricError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = {
    "M_J": "M_J",
    "M_F": "M_F",
    "AR": "Alignment Rate",
    "silent_FPR": "False positives in silence",
}
_BARE, _COPROP, _TRUTH = "#8a8a8a", "#e377a8", "#9fb4c7"
_ROW, _GAP, _TOP = 0.24, 0.9, 1.1
"""Heights in inches: of a bar, of the gap between two models, of title and labels."""


def bench_plot(results: Sequence[Mapping[str, Any]], path: str | Path, title: str = "") -> Path:
    """Draw the scores of every model and row as bars.

    Grey is the model alone, pink the model with Co-Prop, blue a row with true control points or
    true keyframes. The dotted line repeats the model alone; whiskers are the standard deviation
    over sets of clips.

    Args:
        results: `results` of the report that `plug_and_play` returns.
        path: Where to write the image; its suffix decides the format.
        title: Shown at the top.

    Returns:
        The path.

    Raises:
        MetricError: If there are no scores to draw.
    """
    from matplotlib.figure import Figure

    rows = rows_of_all_clips(results)
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    groups = [[row for row in rows if row["backend"] == name] for name in backends]
    height = _ROW * len(rows) + _GAP * len(groups) + _TOP
    figure = Figure(figsize=(13, height), dpi=110, layout="constrained")
    panels = figure.subplots(
        len(groups),
        len(_PANELS),
        squeeze=False,
        sharex="col",
        height_ratios=[len(group) + 1 for group in groups],
    )
    for axes, heading in zip(panels[0], _PANELS.values(), strict=True):
        axes.set_title(heading, fontsize=10)
    for line, name, group in zip(panels, backends, groups, strict=True):
        for axes, score in zip(line, _PANELS, strict=True):
            _draw(axes, group, score)
            axes.tick_params(labelleft=axes is line[0])
        line[0].set_ylabel(name, fontsize=10)
    return save_plot(figure, path, title)


def rows_of_all_clips(results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the results over all clips that have scores.

    Raises:
        MetricError: If there are none.
    """
    rows = [result for result in results if result["part"] == "all" and result["mean"]]
    if not rows:
        raise MetricError(
            "Expected a report with scores, got one without. Run the benchmark on clips with "
            "true masks."
        )
    return rows


def save_plot(figure: "Figure", path: str | Path, title: str) -> Path:
    """Write a figure under its title; the folder is made if needed."""
    if title:
        figure.suptitle(title, fontsize=11)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _draw(axes: "Axes", group: Sequence[Mapping[str, Any]], score: str) -> None:
    places = range(len(group))
    values = [row["mean"].get(score) for row in group]
    spreads = [row["std"].get(score) or 0.0 for row in group]
    colours = [_colour(row["row"]) for row in group]
    bars = [value or 0.0 for value in values]
    axes.barh(
        places,
        bars,
        xerr=spreads,
        color=colours,
        height=0.75,
        error_kw=dict(elinewidth=0.8, ecolor="#444444", capsize=2),
    )
    for place, value, spread in zip(places, values, spreads, strict=True):
        label = "no such frames" if value is None else f"{value:.3f}"
        axes.text((value or 0.0) + spread + 0.015, place, label, va="center", fontsize=7)
    bare = next((row["mean"].get(score) for row in group if row["row"] == "bare"), None)
    if bare is not None:
        axes.axvline(bare, color=_BARE, linewidth=0.9, linestyle=":")
    axes.set_yticks(places, [row["row"] for row in group], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _colour(row: str) -> str:
    if row == "bare":
        return _BARE
    return _TRUTH if row.startswith(("oracle+", "oracle@")) or row.endswith("+truth") else _COPROP
