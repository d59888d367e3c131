"""Table 3: MOC, the clips whose sounding objects change, and the statistics of data sets."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coprop_plugin.benchmark.datasets.avsbench import MS3
from coprop_plugin.benchmark.datasets.base import AVSDataset
from coprop_plugin.benchmark.datasets.clip_truth import Truth
from coprop_plugin.control_points.providers import from_masks
from coprop_plugin.errors import DatasetError, DatasetWarning
from coprop_plugin.registry import DATASETS

PAPER_MOC_CLIPS = 17
"""Number of clips in the paper's MOC, of MS3's 64 test clips. It does not list them."""


@dataclass(frozen=True)
class Statistics:
    """A row of Table 3.

    Attributes:
        videos: Number of clips.
        categories: Mean number of categories per clip; None where classes are not known.
        changing: Ids of the clips with several target objects that change.
        sounding: The categories in each labelled frame, by id; empty where not known.

    Example:
        >>> print(Statistics(64, 1.375, tuple(map(str, range(17))), {}))
        64 videos, 1.375 categories per video, 26.56 % change
    """

    videos: int
    categories: float | None
    changing: tuple[str, ...]
    sounding: dict[str, list[tuple[str, ...]]]

    @classmethod
    def of(cls, dataset: AVSDataset) -> "Statistics":
        """Count the clips of a data set, and the categories in their labels.

        Args:
            dataset: S4 and MS3 with `avss_root`, as their own masks do not tell objects apart.

        Raises:
            DatasetError: If a mask or a label is missing or unusable.
        """
        truths = {name: dataset.truth(i) for i, name in enumerate(dataset.ids)}
        names = [truth.categories for truth in truths.values()]
        known = [len(categories) for categories in names if categories is not None]
        return cls(
            len(truths),
            sum(known) / len(truths) if len(known) == len(truths) else None,
            tuple(name for name, truth in truths.items() if _changes(truth)),
            {name: t.sounding for name, t in truths.items() if t.sounding is not None},
        )

    @property
    def changing_share(self) -> float:
        """Share of the clips with several target objects that change, 0..1."""
        return len(self.changing) / self.videos

    def __str__(self) -> str:
        categories = "unknown" if self.categories is None else f"{self.categories:.3f}"
        return (
            f"{self.videos} videos, {categories} categories per video, "
            f"{self.changing_share:.2%} change".replace("%", " %")
        )


def select_changing(dataset: AVSDataset) -> list[str]:
    """Find the clips with several target objects that change, as in MOC (Table 3).

    By class labels: two classes or more over the clip, and not the same ones in all frames. Binary
    masks tell only when anything sounds: without `avss_root`, clips of S4 and MS3 are chosen in
    which sound begins or ends.

    Args:
        dataset: The clips to choose from.

    Returns:
        Ids of `dataset`, in its order; may be empty. `write_ids` writes them to a file.

    Raises:
        DatasetError: If a mask cannot be read, or a clip has no twin in AVSS.

    Example:
        >>> select_changing(MS3("Multi-sources", "test", avss_root="AVSS"))  # doctest: +SKIP
    """
    return [name for i, name in enumerate(dataset.ids) if _changes(dataset.truth(i))]


def _changes(truth: Truth) -> bool:
    if truth.sounding is not None:
        return len(truth.categories or ()) > 1 and len(set(truth.sounding)) > 1
    known = truth.masks[truth.labelled]
    return len(known) > 0 and len(from_masks(known)) > 1


@DATASETS.register_module()
class MOC(MS3):
    """Multiple-sound Source Conversion: MS3's clips whose sounding objects change (Table 3).

    The paper has 17 and does not list them; `DatasetWarning` names those chosen if their number
    differs.

    Args:
        root: The folder `Multi-sources`.
        split: `"test"`, as in the paper, or another.
        ids: The clips: names, or a file of `write_ids`. By default they are selected, see
            `select_changing`.
        **options: Those of `MS3`; with `avss_root` the labels of AVSS select the clips.

    Raises:
        DatasetError: As `MS3`; or if no clip changes.

    Example:
        >>> dataset = MOC("Multi-sources", avss_root="AVSS", size=224)  # doctest: +SKIP
    """

    def __init__(
        self,
        root: str | Path,
        split: str | None = "test",
        ids: Sequence[str] | str | Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__(root, split, ids, **options)
        if ids is not None:
            return
        chosen = select_changing(self)
        if not chosen:
            raise DatasetError(
                f"The masks show no change in any of the {len(self)} clips of {self.root} "
                f"({split}). Masks of MS3 do not tell objects apart; give `avss_root` for labels "
                "that do, or a list of `ids`."
            )
        if len(chosen) != PAPER_MOC_CLIPS:
            by = "their own masks" if self.class_labels is None else "AVSS's labels"
            warnings.warn(
                f"MOC: {len(chosen)} clips of {self.root} ({split}) change by {by}, the paper has "
                f"{PAPER_MOC_CLIPS}. Chosen: {', '.join(chosen)}.",
                DatasetWarning,
                stacklevel=2,
            )
        self.rows = [row for row in self.rows if row.id in set(chosen)]
