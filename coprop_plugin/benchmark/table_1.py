"""The paper's Table 1 beside what `coprop bench` measures on the same data."""

from collections.abc import Mapping, Sequence
from typing import Any

from coprop_plugin.adapters.published import PUBLISHED

_SUBSETS = ("S4", "MS3", "AVSS")
_MEASURES = {"S4": ("M_J", "M_F"), "MS3": ("M_J", "M_F"), "AVSS": ("avsbench_mIoU", "avsbench_F")}
_OURS = "keyframe_processor"

PAPER: dict[tuple[str, str], tuple[tuple[float, float], ...]] = {
    ("tpavi", "resnet50"): ((72.8, 84.8), (47.9, 57.8), (20.2, 25.2)),
    ("tpavi", "pvt_v2_b5"): ((78.7, 87.9), (54.0, 64.5), (29.8, 35.2)),
    ("catr", "resnet50"): ((74.8, 86.6), (52.8, 65.3), (23.4, 28.6)),
    ("catr", "pvt_v2_b5"): ((81.4, 89.6), (59.0, 70.0), (32.8, 38.5)),
    ("avsegformer", "resnet50"): ((76.4, 86.7), (53.8, 65.6), (26.6, 31.5)),
    ("avsegformer", "pvt_v2_b5"): ((82.1, 89.9), (58.36, 69.3), (37.3, 42.8)),
    (_OURS, "resnet50"): ((78.5, 87.2), (57.2, 68.4), (30.2, 35.8)),
    (_OURS, "pvt_v2_b5"): ((83.7, 90.9), (63.6, 74.0), (39.6, 44.4)),
}
"""M_J and M_F in percent on S4, MS3 and AVSS, by family and backbone. The families' are bare; those
of the Keyframe Processor, "Ours" there, are with all of Co-Prop."""


def table_1(
    results: Sequence[Mapping[str, Any]],
    models: Mapping[str, Mapping[str, Any]],
    subset: str,
) -> list[dict[str, Any]]:
    """Set what was measured beside what is published.

    Args:
        results: `Report.results`, of the test split of one subset.
        models: Of each backend its `family` and `backbone`; those without are left out, as are
            those that Table 1 does not have.
        subset: "S4", "MS3" or "AVSS"; for others there are no lines.

    Returns:
        A line for each backend and row: `backend`, `row`, `clips`, and in percent or None `paper`
        (Table 1), `readme` (of the authors, beside their weights) and `here`, each M_J and M_F. A
        row that they have no number for has None; on AVSS M_J is the mean IoU and F over classes
        as AVSBench computes them.

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
        model = (about.get("family"), about.get("backbone"))
        if subset not in _SUBSETS or model not in PAPER or result["part"] != "all":
            continue
        # Table 1 has the others bare, and ours whole.
        told = (result["row"] == "bare") != (model[0] == _OURS)
        lines.append(
            {
                "backend": result["backend"],
                "row": result["row"],
                "clips": result["clips"],
                "paper": PAPER[model][_SUBSETS.index(subset)] if told else None,
                "readme": _readme(*model, subset) if told else None,
                "here": _here(result["mean"], subset),
            }
        )
    return lines


def _readme(family: str, backbone: str, subset: str) -> tuple[float, float] | None:
    # Of the families only AVSegFormer's authors list scores beside their weights.
    for model in PUBLISHED:
        here = (model.family, model.backbone, model.subset) == (family, backbone, subset)
        if here and family == "avsegformer":
            return model.m_j, model.m_f
    return None


def _here(mean: Mapping[str, float | None], subset: str) -> tuple[float, float] | None:
    scores = [mean.get(name) for name in _MEASURES[subset]]
    return None if None in scores else tuple(round(100 * score, 2) for score in scores)


def as_text(lines: Sequence[Mapping[str, Any]], subset: str) -> str:
    """Return lines of `table_1` as a table to read.

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
