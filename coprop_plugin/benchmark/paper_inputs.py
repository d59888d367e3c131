"""What the rows of the paper's tables need: data sets and weights, and where they come from."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coprop_plugin.adapters.published import PUBLISHED
from coprop_plugin.benchmark.datasets import AVSS, MOC, MS3, S4, AVSDataset
from coprop_plugin.benchmark.paper_tables import PaperCell
from coprop_plugin.errors import DatasetError
from coprop_plugin.training.run import WEIGHTS_NAME, config_names

_SETS: dict[str, type[AVSDataset]] = {"S4": S4, "MS3": MS3, "AVSS": AVSS, "MOC": MOC}
_SUFFIXES = (".safetensors", ".pth", ".pt")
_AVSBENCH = "https://github.com/OpenNLPLab/AVSBench"
_AOT = "https://github.com/yoxu515/aot-benchmark (MODEL_ZOO.md)"
AOT_WEIGHTS = "R50_AOTL_PRE_YTB_DAV"


def source_of(weights: str, folder: str | Path = "WEIGHTS") -> str:
    """Return where weights come from: a command that trains them, or whose page.

    Example:
        >>> source_of("ms3_propagator", "weights")
        'coprop train ms3_propagator --work-dir weights/ms3_propagator'
        >>> source_of("catr_resnet50_s4")[:57]
        "training with the authors' code, as they released none (h"
    """
    if weights in config_names():
        return f"coprop train {weights} --work-dir {folder}/{weights}"
    if weights == AOT_WEIGHTS:
        return f"AOT's authors: {_AOT}"
    for model in PUBLISHED:
        if weights == f"{model.family}_{model.backbone}_{model.subset.lower()}" and model.weights:
            return f"{model.weights} ({model.source})"
    for model in PUBLISHED:
        if weights.startswith(f"{model.family}_"):
            return f"training with the authors' code, as they released none ({model.source})"
    return "your own training"


@dataclass(frozen=True)
class PaperInputs:
    """Folders with the data sets and the weights.

    Attributes:
        data: AVSBench: the data sets lie in it, or up to two folders below.
        weights: `NAME.safetensors`, `NAME.pth`, or `NAME/weights.safetensors` as `coprop train
            --work-dir` writes it.
        limit: Only so many clips of each set; None for all.
    """

    data: Path
    weights: Path
    limit: int | None = None
    _folders: dict[str, Path | None] = field(default_factory=dict, compare=False)

    def folder_of(self, subset: str) -> Path | None:
        """Return the folder that holds a data set's table; None if there is none."""
        if subset not in self._folders:
            table = _SETS[subset].table
            found = (path for depth in ("", "*/", "*/*/") for path in self._glob(depth + table))
            self._folders[subset] = next((path.parent for path in found), None)
        return self._folders[subset]

    def _glob(self, pattern: str) -> Iterator[Path]:
        return iter(sorted(self.data.glob(pattern)))

    def weights_file(self, name: str) -> Path | None:
        """Return the file of weights by name; None if there is none."""
        files = [self.weights / f"{name}{suffix}" for suffix in _SUFFIXES]
        files.append(self.weights / name / WEIGHTS_NAME)
        return next((path for path in files if path.is_file()), None)

    def missing(self, cell: PaperCell) -> list[str]:
        """Return which files a cell lacks, each with where it comes from."""
        lacking = []
        subsets = {cell.subset: _SETS[cell.subset]}
        if _needs_labels(cell):
            subsets["AVSS"] = AVSS
        for subset, kind in subsets.items():
            if self.folder_of(subset) is None:
                lacking.append(f"{self.data}/**/{kind.table} ({subset}), from {_AVSBENCH}")
        for name in filter(None, (cell.weights, cell.propagator)):
            if self.weights_file(name) is None:
                file = self.weights / f"{name}.pth"
                if name in config_names():
                    file = self.weights / name / WEIGHTS_NAME
                lacking.append(f"{file}, from {source_of(name, self.weights)}")
        return lacking

    def dataset(self, cell: PaperCell, size: int | None = None) -> AVSDataset:
        """Open the test clips of a cell, with AVSS's labels where they are needed.

        Args:
            cell: The cell.
            size: Side of the frames in pixels; None for the cell's.

        Raises:
            DatasetError: If the data set is not there or malformed.
        """
        folder, kind = self.folder_of(cell.subset), _SETS[cell.set]
        if folder is None:
            raise DatasetError(self.missing(cell)[0])
        options: dict[str, Any] = {}
        if _needs_labels(cell):
            options["avss_root"] = self.folder_of("AVSS")
        dataset = kind(folder, "test", size=size or cell.size, **options)
        dataset.rows = dataset.rows[: self.limit]
        return dataset


def _needs_labels(cell: PaperCell) -> bool:
    """Whether a cell needs the labels of AVSS, which tell the objects of S4 and MS3 apart."""
    return cell.set == "MOC" or (cell.kind == "statistics" and cell.set != "AVSS")
