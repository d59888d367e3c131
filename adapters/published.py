"""Published scores of the models that we can run, and links to their authors' weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Subset = Literal["S4", "MS3", "AVSS"]

_AVSBENCH = "https://github.com/OpenNLPLab/AVSBench"
_AVSEGFORMER = "https://github.com/vvvb-github/AVSegFormer"
_CATR = "https://github.com/aspirinone/CATR.github.io"
_DRIVE = "https://drive.google.com"


@dataclass(frozen=True)
class Published:
    """A trained model of a paper.

    Args:
        family: The name of its adapter.
        backbone: "resnet50" or "pvt_v2_b5".
        subset: The subset it was trained on.
        m_j: M_J in percent, as its authors publish it: in the README beside the weights, or in
            the paper where no weights are released.
        m_f: M_F in percent, likewise.
        source: Link to the authors' code.
        licence: Of that code; None if it has none, so that all rights are reserved.
        weights: Link to the file or its folder; None if it was never released.
        size_mb: Size of the file in 10^6 bytes: its weights in float32; None if it is not known.
        needs_code: Whether it is run by its authors' code, which `wrap` takes an instance of.
    """

    family: str
    backbone: str
    subset: Subset
    m_j: float
    m_f: float
    source: str
    licence: str | None
    weights: str | None
    size_mb: int | None = None
    needs_code: bool = False

    def __str__(self) -> str:
        size = f"{self.size_mb} MB, " if self.size_mb else ""
        weights = f"{size}{self.weights}" if self.weights else "weights not released"
        licence = self.licence or "no licence"
        code = f"  by the code of {self.source}" if self.needs_code else ""
        return (
            f"{self.family:<15} {self.backbone:<10} {self.subset:<5} "
            f"M_J {self.m_j:5.2f}  M_F {self.m_f:4.1f}  {licence:<10}  {weights}{code}"
        )


def _rows(
    family: str,
    source: str,
    licence: str | None,
    sizes_mb: Mapping[str, int],
    scores: dict[tuple[str, Subset], tuple[float, float]],
    weights: dict[tuple[str, Subset], str],
) -> list[Published]:
    return [
        Published(
            family,
            backbone,
            subset,
            *measures,
            source,
            licence,
            weights.get((backbone, subset)),
            sizes_mb.get(backbone),
            needs_code=not sizes_mb,
        )
        for (backbone, subset), measures in scores.items()
    ]


PUBLISHED: list[Published] = [
    *_rows(
        "tpavi",
        _AVSBENCH,
        "Apache-2.0",
        {"resnet50": 366, "pvt_v2_b5": 405},
        {
            ("resnet50", "S4"): (72.8, 84.8),
            ("resnet50", "MS3"): (47.9, 57.8),
            ("resnet50", "AVSS"): (20.2, 25.2),
            ("pvt_v2_b5", "S4"): (78.7, 87.9),
            ("pvt_v2_b5", "MS3"): (54.0, 64.5),
            ("pvt_v2_b5", "AVSS"): (29.8, 35.2),
        },
        {
            (backbone, "AVSS"): f"{_DRIVE}/drive/folders/1faSG_Hs2D2PkYeXLyRqlo-cjZ-DmggKB"
            for backbone in ("resnet50", "pvt_v2_b5")
        },
    ),
    *_rows(
        "avsegformer",
        _AVSEGFORMER,
        None,
        {"resnet50": 604, "pvt_v2_b5": 744},
        {
            ("resnet50", "S4"): (76.38, 86.7),
            ("resnet50", "MS3"): (53.81, 65.6),
            ("resnet50", "AVSS"): (26.58, 31.5),
            ("pvt_v2_b5", "S4"): (83.06, 90.5),
            ("pvt_v2_b5", "MS3"): (61.33, 73.0),
            ("pvt_v2_b5", "AVSS"): (37.31, 42.8),
        },
        {
            ("resnet50", "S4"): f"{_DRIVE}/file/d/1nvIfR-1XZ_BgP8ZSUDuAsGhAwDJRxgC3",
            ("resnet50", "MS3"): f"{_DRIVE}/file/d/1MRk5gQnUtiWwYDpPfB20fO07SVLhfuIV",
            ("resnet50", "AVSS"): f"{_DRIVE}/file/d/1RvL6psDsINuUwd9V1ESgE2Kixh9MXIke",
            ("pvt_v2_b5", "S4"): f"{_DRIVE}/file/d/1ZJ55jxoHP1ur-hLBkGcha8sjptE_shfw",
            ("pvt_v2_b5", "MS3"): f"{_DRIVE}/file/d/1iKTxWtehAgCkNVty-4H1zVyAOaNxipHv",
            ("pvt_v2_b5", "AVSS"): f"{_DRIVE}/file/d/1P8a2dJSUoW0EqFyxyP8B1-Rnscxnh0YY",
        },
    ),
    *_rows(
        "catr",
        _CATR,
        None,
        # Only the code for S4 on PVT-v2 is released.
        {"pvt_v2_b5": 474},
        {
            ("pvt_v2_b5", "S4"): (81.4, 89.6),
            ("pvt_v2_b5", "MS3"): (59.0, 70.0),
            ("pvt_v2_b5", "AVSS"): (32.8, 38.5),
        },
        {},
    ),
]
"""TPAVI's and CATR's numbers are those of Co-Prop's Table 1; AVSegFormer's are of its README."""

_COMBO_FILES = "https://huggingface.co/YannQi/COMBO-AVS-checkpoints"
_SAMA_FILES = "https://1drv.ms/f/s!Al8pv4sl4wmygwsS5WVpIb4fhxvT?e=OGEPsp"
_VCT_FILES = "https://huggingface.co/nowherespyfly/VCT_AVS/blob/main"

RUN_BY_THEIR_CODE: list[Published] = [
    *_rows(
        "stepping_stones",
        "https://github.com/GeWu-Lab/Stepping-Stones",
        None,
        {},
        {
            ("swin_b", "S4"): (83.18, 91.33),
            ("swin_b", "MS3"): (67.30, 77.63),
            ("swin_b", "AVSS"): (48.50, 53.20),
        },
        {
            ("swin_b", "S4"): f"{_DRIVE}/file/d/1Y8GvGjdwixBcDuv2-JY3aXTnNPQ5Zs3l",
            ("swin_b", "MS3"): f"{_DRIVE}/file/d/1rV_7ZDS0OtWQ5aLZulrXJjPjgz5gIuS2",
            ("swin_b", "AVSS"): f"{_DRIVE}/file/d/1j0bmGJaacWxSlg1kR86E9Rf9IoA0HBhA",
        },
    ),
    *_rows(
        "combo",
        "https://github.com/yannqi/COMBO-AVS",
        "Apache-2.0",
        {},
        {
            ("resnet50", "S4"): (81.7, 90.1),
            ("resnet50", "MS3"): (54.5, 66.6),
            ("resnet50", "AVSS"): (33.3, 37.3),
            ("pvt_v2_b5", "S4"): (84.7, 91.9),
            ("pvt_v2_b5", "MS3"): (59.2, 71.2),
            ("pvt_v2_b5", "AVSS"): (42.1, 46.1),
        },
        {
            ("resnet50", "S4"): _COMBO_FILES,
            ("resnet50", "MS3"): _COMBO_FILES,
            ("resnet50", "AVSS"): _COMBO_FILES,
            ("pvt_v2_b5", "S4"): _COMBO_FILES,
            ("pvt_v2_b5", "MS3"): _COMBO_FILES,
            ("pvt_v2_b5", "AVSS"): _COMBO_FILES,
        },
    ),
    *_rows(
        "vct",
        "https://github.com/spyflying/VCT_AVS",
        "Apache-2.0",
        {},
        {
            ("swin_b", "S4"): (86.2, 93.4),
            ("swin_b", "MS3"): (67.6, 81.4),
            ("swin_b", "AVSS"): (52.5, 56.9),
        },
        {
            ("swin_b", "S4"): f"{_VCT_FILES}/s4_swinb_384/model_best.pth",
            ("swin_b", "MS3"): f"{_VCT_FILES}/ms3_swinb_384/model_best.pth",
            ("swin_b", "AVSS"): f"{_VCT_FILES}/ss_swinb_384/model_best.pth",
        },
    ),
    *_rows(
        "cavp",
        "https://github.com/cyh-0/CAVP",
        None,
        {},
        {
            ("resnet50", "S4"): (78.78, 88.89),
            ("resnet50", "MS3"): (55.82, 67.14),
            ("resnet50", "AVSS"): (30.37, 35.29),
        },
        {
            ("resnet50", "S4"): f"{_DRIVE}/file/d/1JDC8jDj4iQT5qeJ_8Xt4zP3oWS-q5Hel",
            ("resnet50", "MS3"): f"{_DRIVE}/file/d/1SSMTRDjgkaIgYx8ETpk3sE1dcUe1O5js",
            ("resnet50", "AVSS"): f"{_DRIVE}/file/d/1DwVw_NtDv23QacpNvKlabWSnnPy25xfr",
        },
    ),
    *_rows(
        "gavs",
        "https://github.com/GeWu-Lab/Generalizable-Audio-Visual-Segmentation",
        "MIT",
        {},
        {("sam_vit", "S4"): (80.1, 90.2), ("sam_vit", "MS3"): (63.7, 77.4)},
        {},
    ),
    *_rows(
        "sama",
        "https://github.com/jinxiang-liu/anno-free-AVS",
        None,
        {},
        {("sam_vit_h", "S4"): (81.5, 88.6), ("sam_vit_h", "MS3"): (63.1, 69.1)},
        {("sam_vit_h", "S4"): _SAMA_FILES, ("sam_vit_h", "MS3"): _SAMA_FILES},
    ),
]
"""Models of which an adapter takes an instance; numbers of their READMEs, GAVS' and SAMA-AVS' as
Stepping-Stones' README has them."""
