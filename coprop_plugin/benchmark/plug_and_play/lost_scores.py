"""What wrong predictions cost: M_J of each row with and without them."""

from collections.abc import Mapping, Sequence
from typing import Any

from coprop_plugin.benchmark.plug_and_play.rows import BARE
from coprop_plugin.benchmark.plug_and_play.wrong_keyframes import wrong_name

_SCORES = ("M_J", "AR", "calls")


def losses(results: Sequence[Mapping[str, Any]], share: float) -> list[dict[str, Any]]:
    """Return what each row loses where a share of the model's predictions is wrong.

    Args:
        results: `Report.results`.
        share: Of the predictions, as for `plug_and_play`.

    Returns:
        One mapping for each backend and row: `M_J`, `AR` and `calls`, each as a pair without and
        with wrong predictions; `lost`, the difference of M_J; `of_bare`, its share of what the
        model alone loses, None without the row `bare`.

    Example:
        >>> scores = {"a": 0.9, "a, 30 % wrong": 0.6}
        >>> results = [
        ...     dict(backend=name, row="bare", part="all", mean=dict(M_J=score, AR=1, calls=1))
        ...     for name, score in scores.items()
        ... ]
        >>> [round(line["lost"], 3) for line in losses(results, 0.3)]
        [0.3]
    """
    means = {(r["backend"], r["row"]): r["mean"] for r in results if r["part"] == "all"}
    lines: list[dict[str, Any]] = []
    for (backend, row), mean in means.items():
        wrong = means.get((wrong_name(backend, share), row))
        if not share or not mean or not wrong:
            continue
        pairs = {name: (mean[name], wrong[name]) for name in _SCORES}
        lost = mean["M_J"] - wrong["M_J"]
        lines.append({"backend": backend, "row": row, **pairs, "lost": lost})
    bare = {line["backend"]: line["lost"] for line in lines if line["row"] == BARE}
    return [{**line, "of_bare": _share(line["lost"], bare.get(line["backend"]))} for line in lines]


def _share(lost: float, whole: float | None) -> float | None:
    return lost / whole if whole else None
