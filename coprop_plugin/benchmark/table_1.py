"""The paper's Table 1 beside the scores that `coprop bench` measures on the same data."""

from collections.abc import Mapping, Sequence
from typing import Any

from coprop_plugin.adapters.published import PUBLISHED
from coprop_plugin.benchmark.paper_tables import read_table

_MEASURES = {"S4": ("M_J", "M_F"), "MS3": ("M_J", "M_F"), "AVSS": ("avsbench_mIoU", "avsbench_F")}
# AVSegFormer's authors list scores of their own beside their weights; those of the other families
# in `PUBLISHED` are Table 1's.
_WITH_README = "avsegformer"

Scores = tuple[float, float]
"""M_J and M_F in percent."""


def paper_scores(family: str, backbone: str, subset: str) -> Scores | None:
    """Return the scores of a bare model in Table 1; None if it is not there.

    Example:
        >>> paper_scores("avsegformer", "pvt_v2_b5", "MS3")
        (58.36, 69.3)
    """
    for cell in read_table("table1").cells:
        named = (cell.row, cell.set) == (f"{family}-{backbone}", subset)
        if named and not cell.points and cell.paper is not None:
            return cell.paper[0], cell.paper[1]
    return None


def table_1(
    results: Sequence[Mapping[str, Any]],
    models: Mapping[str, Mapping[str, Any]],
    subset: str,
) -> list[dict[str, Any]]:
    """Return measured scores beside the published ones.

    Args:
        results: `Report.results`, of the test split of one subset.
        models: `family` and `backbone` of each backend; backends without them, or that are not in
            Table 1, are left out. So is the paper's own model, whose row needs RCPG and trained
            weights: `coprop reproduce table1`.
        subset: `"S4"`, `"MS3"` or `"AVSS"`; there are no lines for others.

    Returns:
        A line for each backend and row: `backend`, `row`, `clips`, and M_J and M_F in percent as
        `paper` (Table 1), `readme` (published beside the weights) and `here`, None where there is
        no number. On AVSS they are the mean IoU and F over classes, as AVSBench computes them.

    Example:
        >>> result = dict(
        ...     backend="mine", row="bare", part="all", clips=64, mean=dict(M_J=0.6, M_F=0.7)
        ... )
        >>> table_1([result], {"mine": dict(family="avsegformer", backbone="pvt_v2_b5")}, "MS3")
        [{'backend': 'mine', 'row': 'bare', 'clips': 64, 'paper': (58.36, 69.3), \
'readme': (61.33, 73.0), 'here': (60.0, 70.0)}]
    """
    lines = []
    for result in results:
        about = models.get(result["backend"], {})
        family, backbone = str(about.get("family")), str(about.get("backbone"))
        paper = paper_scores(family, backbone, subset)
        if paper is None or result["part"] != "all":
            continue
        published = result["row"] == "bare"
        lines.append(
            {
                "backend": result["backend"],
                "row": result["row"],
                "clips": result["clips"],
                "paper": paper if published else None,
                "readme": _readme(family, backbone, subset) if published else None,
                "here": _here(result["mean"], subset),
            }
        )
    return lines


def _readme(family: str, backbone: str, subset: str) -> Scores | None:
    for model in PUBLISHED:
        here = (model.family, model.backbone, model.subset) == (family, backbone, subset)
        if here and family == _WITH_README:
            return model.m_j, model.m_f
    return None


def _here(mean: Mapping[str, float | None], subset: str) -> Scores | None:
    m_j, m_f = (mean.get(name) for name in _MEASURES[subset])
    return None if m_j is None or m_f is None else (round(100 * m_j, 2), round(100 * m_f, 2))


def as_text(lines: Sequence[Mapping[str, Any]], subset: str) -> str:
    """Return lines of `table_1` as a table of text.

    Example:
        >>> line = dict(
        ...     backend="mine", row="bare", clips=2, paper=(47.9, 57.8), readme=None, here=(9, 10)
        ... )
        >>> print(as_text([line], "MS3"))  # doctest: +NORMALIZE_WHITESPACE
        Table 1 on MS3, M_J / M_F in percent
          model    row    clips     paper    README     here
          mine     bare       2  47.90 / 57.80    -   9.00 / 10.00
    """
    names = ("paper", "readme", "here")
    cells = [("model", "row", "clips", "paper", "README", "here")]
    for line in lines:
        pairs = ("-" if line[n] is None else "{:.2f} / {:.2f}".format(*line[n]) for n in names)
        cells.append((line["backend"], line["row"], str(line["clips"]), *pairs))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    text = [f"Table 1 on {subset}, M_J / M_F in percent"]
    for row in cells:
        left = (cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True))
        right = (cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True))
        text.append("  " + "  ".join([*left, *right]))
    return "\n".join(text)
