"""AVSBench-semantic's labels of the clips of S4 and MS3, whose own masks are binary."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from coprop_plugin.benchmark.datasets.avss import AVSS
from coprop_plugin.benchmark.datasets.listing import Row, read_rows
from coprop_plugin.benchmark.datasets.read_pictures import Resize
from coprop_plugin.errors import DatasetError

_LEAST_AGREEMENT = 0.5
"""Where several clips come from one video, the twin's labels cover the masks at least so well."""


@dataclass(frozen=True)
class Twin:
    """A clip of AVSS that shows the same seconds as a clip of S4 or MS3.

    Attributes:
        uid: Its name in AVSS.
        start: Its frame that is the other clip's first one.
    """

    uid: str
    start: int = 0


class ClassLabels:
    """Labels of AVSS for clips of S4 and MS3.

    A clip's twin has its id as `uid`, or as `vid` if no other clip of the wanted subset has.
    Failing that it is, among the clips of the video that the id begins with (`vid_`), the run of
    frames whose labels cover the clip's masks best.

    Args:
        root: The folder of AVSS.
        subset: Preferred where names decide: `"v1s"` for S4, `"v1m"` for MS3.
        size: As in `AVSDataset`.
        resize: As in `AVSDataset`.

    Raises:
        DatasetError: As `AVSS`.

    Example:
        >>> ClassLabels("AVSS", "v1m").twin("a", masks)  # doctest: +SKIP
        Twin(uid='a', start=0)
    """

    def __init__(
        self, root: str | Path, subset: str, size: int | None = None, resize: Resize = "squash"
    ) -> None:
        self.avss = AVSS(root, None, size=size, resize=resize)
        self.subset = subset
        self._twins: dict[str, Twin] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, the background's first."""
        return self.avss.classes

    def of(self, name: str, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class labels of a clip.

        Args:
            name: Its id.
            masks: Its own masks, `[T, H, W]`.

        Returns:
            Class numbers `[T, H, W]`, and which frames have them, `[T]` bool.

        Raises:
            DatasetError: If the clip has no single twin, or a label is unusable.
        """
        return self._cut(self.twin(name, masks), masks)

    def twin(self, name: str, masks: Tensor) -> Twin:
        """Find a clip's twin.

        Args:
            name: Its id.
            masks: Its own masks, `[T, H, W]`, which decide where names do not.

        Raises:
            DatasetError: If there is none, or no single one.
        """
        if name not in self._twins:
            self._twins[name] = self._find(name, masks)
        return self._twins[name]

    def _find(self, name: str, masks: Tensor) -> Twin:
        for same in (lambda row: row.id == name, lambda row: row.values["vid"] == name):
            rows = [row for row in self._rows if same(row) and self._length(row) == len(masks)]
            rows = [row for row in rows if row.values["label"] == self.subset] or rows
            if len(rows) == 1:
                return Twin(rows[0].id)
        runs = [
            Twin(row.id, start)
            for row in self._rows
            if f"{name}_".startswith(f"{row.values['vid']}_")
            for start in range(self._length(row) - len(masks) + 1)
        ]
        agreement = {run: self._agreement(run, masks) for run in runs}
        most = max(agreement.values(), default=0.0)
        best = [run for run in runs if agreement[run] == most]
        if most >= _LEAST_AGREEMENT and self._same(best, masks):
            return best[0]
        raise DatasetError(
            f"{name!r} has no single twin in {self.avss.root}: expected a clip with this uid, or "
            "one of the video that it names whose labels cover its masks. Use AVSBench-semantic "
            "with the same clips, or leave its labels out."
        )

    @cached_property
    def _rows(self) -> list[Row]:
        return read_rows(self.avss.path, ("vid", "label"), self.avss.id_column)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {uid: i for i, uid in enumerate(self.avss.ids)}

    def _length(self, row: Row) -> int:
        return len(self.avss.frame_files(row))

    def _cut(self, twin: Twin, masks: Tensor) -> tuple[Tensor, Tensor]:
        labels, known = self.avss.masks(self._place[twin.uid])
        run = slice(twin.start, twin.start + len(masks))
        return _resized(labels[run], masks.shape[1:]), known[run]

    def _same(self, runs: Sequence[Twin], masks: Tensor) -> bool:
        first, *others = (self._cut(run, masks)[0] for run in runs)
        return all(torch.equal(first, other) for other in others)

    def _agreement(self, twin: Twin, masks: Tensor) -> float:
        """Return the mean IoU of labels and masks over the frames in which either has pixels."""
        labels, known = self._cut(twin, masks)
        labelled, painted = (x[known].flatten(1) > 0 for x in (labels, masks))
        either = (labelled | painted).sum(1)
        scores = ((labelled & painted).sum(1) / either)[either > 0]
        return float(scores.mean()) if len(scores) else 0.0


def _resized(labels: Tensor, size: torch.Size) -> Tensor:
    """Resize class labels to the size of a clip's own masks, by the nearest pixel."""
    if labels.shape[1:] == size:
        return labels
    channel = labels[:, None].float()
    return functional.interpolate(channel, tuple(size), mode="nearest-exact")[:, 0].long()
