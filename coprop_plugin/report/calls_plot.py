"""Benchmark scores against their price: M_J of each row by how often the model was run."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coprop_plugin.report.bench_plot import rows_of_all_clips, save_plot

_SECONDS = re.compile(r"(@auto)?[@:][\d.]+(?=\+)")


def calls_plot(results: Sequence[Mapping[str, Any]], path: str | Path, title: str = "") -> Path:
    """Draw M_J of each row against the share of frames that its model was run on.

    Rows of one method that differ in seconds alone, such as `novelty@1+flow` and `novelty@2+flow`,
    are joined by a line. Higher is better, and so is further to the left.

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
    figure = Figure(figsize=(1 + 6 * len(backends), 4.5), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(backends), squeeze=False)[0]
    for axes, backend in zip(panels, backends, strict=True):
        for points in curves([row for row in rows if row["backend"] == backend]).values():
            calls, scores, names = zip(*points, strict=True)
            axes.plot(calls, scores, marker="o", markersize=4, linewidth=1)
            for place in zip(calls, scores, names, strict=True):
                axes.annotate(place[2], place[:2], (4, 4), textcoords="offset points", fontsize=7)
        axes.set_xlabel("calls a frame", fontsize=9)
        axes.set_ylabel("M_J", fontsize=9)
        axes.set_title(backend, fontsize=10)
        axes.margins(x=0.2, y=0.1)
        axes.spines[["top", "right"]].set_visible(False)
    return save_plot(figure, path, title)


def curves(
    results: Sequence[Mapping[str, Any]],
) -> dict[str, list[tuple[float, float, str]]]:
    """Return calls a frame, M_J and row of each method, rising in calls.

    Args:
        results: Of one backend, see `calls_plot`.

    Example:
        >>> rows = {"novelty@1+flow": (0.3, 0.9), "novelty@2+flow": (0.2, 0.8), "bare": (1, 0.7)}
        >>> results = [
        ...     dict(row=row, mean=dict(calls=calls, M_J=m_j)) for row, (calls, m_j) in rows.items()
        ... ]
        >>> curves(results)["novelty@seconds+flow"]
        [(0.2, 0.8, 'novelty@2+flow'), (0.3, 0.9, 'novelty@1+flow')]
        >>> list(curves(results))
        ['novelty@seconds+flow', 'bare']
    """
    found: dict[str, list[tuple[float, float, str]]] = {}
    for result in results:
        row, mean = result["row"], result["mean"]
        method = _SECONDS.sub(lambda match: match[1] or "@seconds", row)
        found.setdefault(method, []).append((mean["calls"], mean["M_J"], row))
    return {method: sorted(points) for method, points in found.items()}
