"""Scores of masks over clips: M_J and M_F, and IoU and F per class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from coprop_plugin.benchmark.metrics.binary import NUM_THRESHOLDS, f_curves, frame_ious
from coprop_plugin.benchmark.metrics.clip_outcome import Outcome
from coprop_plugin.benchmark.metrics.meter import Meter, named, ratio
from coprop_plugin.benchmark.metrics.semantic import (
    ClassCounts,
    avsbench_scores,
    class_counts,
    class_scores,
    dataset_scores,
)
from coprop_plugin.errors import MetricError

SemanticProtocol = Literal["avsbench", "dataset"]
"""How IoU and F per class are averaged, see `SemanticScores`."""


# Not a named tuple: mmengine takes tuples apart when it gathers results.
@dataclass(frozen=True, eq=False)
class _MaskSums:
    iou_sum: float
    num_frames: int
    curve_sum: Tensor
    num_curves: int

    def plus(self, other: "_MaskSums") -> "_MaskSums":
        return _MaskSums(
            self.iou_sum + other.iou_sum,
            self.num_frames + other.num_frames,
            self.curve_sum + other.curve_sum,
            self.num_curves + other.num_curves,
        )

    @property
    def best_f(self) -> float:
        return float(self.curve_sum.max()) / self.num_curves if self.num_curves else 0.0


_NOTHING = _MaskSums(0.0, 0, torch.zeros(NUM_THRESHOLDS, dtype=torch.float64), 0)


class MaskScores(Meter[dict[str, _MaskSums]]):
    """M_J and M_F of binary masks, as AVSBench computes them (Tables 1, 2, 5 and 6).

    `M_J` and `M_F` are unweighted means over batches, as upstream. Its scripts use 4 clips a batch
    (TPAVI), 2 (AVSegFormer) or 1 (CATR), and M_F depends on that: we use one clip. `J_frames` is
    the mean over frames and `F_dataset` the best point of the mean curve over all frames with a
    true object; neither depends on batches. If keyframes are known, names with `_key` and
    `_normal` are the same scores over those frames (Table 6), without clips that have none.

    Args:
        clips_a_batch: Number of clips that upstream's loader puts into one batch.

    Raises:
        MetricError: If it is below 1.

    Example:
        >>> scores = MaskScores()
        >>> scores.update(Outcome(torch.ones(5, 8, 8).long(), torch.ones(5, 8, 8).long()))
        >>> round(scores.compute()["M_J"], 6)
        1.0
    """

    def __init__(self, clips_a_batch: int = 1) -> None:
        super().__init__()
        if clips_a_batch < 1:
            raise MetricError(f"Expected clips_a_batch of 1 or more, got {clips_a_batch}.")
        self.clips_a_batch = clips_a_batch

    def measure(self, outcome: Outcome) -> dict[str, _MaskSums]:
        """Score every frame and sum over each set of frames."""
        probs = outcome.sounding_probs
        ious, curves = frame_ious(probs, outcome.truth), f_curves(probs, outcome.truth)
        filled = outcome.truth.flatten(1).any(1)
        return {
            name: _MaskSums(
                float(ious[chosen].sum()),
                int(chosen.sum()),
                curves[chosen & filled].sum(0),
                int((chosen & filled).sum()),
            )
            for name, chosen in outcome.frame_sets().items()
        }

    def join(self, pieces: Sequence[dict[str, _MaskSums]]) -> dict[str, _MaskSums]:
        """Add up the sums of pieces of a clip."""
        return {name: _total([piece[name] for piece in pieces]) for name in pieces[0]}

    def summarise(self, records: Sequence[dict[str, _MaskSums]]) -> dict[str, Any]:
        """Return `M_J`, `M_F`, `J&F` (their mean), `J_frames`, `F_dataset`, and the counts."""
        scores: dict[str, Any] = {}
        for name in ("all", "key", "normal"):
            clips = [record[name] for record in records if name in record]
            clips = [sums for sums in clips if sums.num_frames]
            if clips or name == "all":
                scores |= named(self._of(clips), name)
        return scores

    def _of(self, clips: list[_MaskSums]) -> dict[str, Any]:
        batches = [
            _total(clips[first : first + self.clips_a_batch])
            for first in range(0, len(clips), self.clips_a_batch)
        ]
        total = _total(clips)
        m_j = ratio(sum(batch.iou_sum / batch.num_frames for batch in batches), len(batches))
        m_f = ratio(sum(batch.best_f for batch in batches), len(batches))
        return {
            "M_J": m_j,
            "M_F": m_f,
            "J&F": None if m_j is None or m_f is None else (m_j + m_f) / 2,
            "J_frames": ratio(total.iou_sum, total.num_frames),
            "F_dataset": total.best_f if total.num_curves else None,
            "num_clips": len(clips),
            "num_frames": total.num_frames,
        }


def _total(clips: Sequence[_MaskSums]) -> _MaskSums:
    total = _NOTHING
    for sums in clips:
        total = total.plus(sums)
    return total


class SemanticScores(Meter[dict[str, Tensor]]):
    """mIoU and F per class, for AVSS (Table 1, last columns).

    Args:
        num_classes: C with the background.
        protocol: `"avsbench"`: upstream's numbers with upstream's quirks, see `avsbench_scores`;
            also, clips are padded to ten frames of background, which count as perfect, and
            frames without a label count as background. `"dataset"`: pixels of the whole data set
            together, without absent classes and unlabelled frames, see `dataset_scores`.
        pad_to: Frames that `"avsbench"` pads a clip to; None scores clips as they are.

    Raises:
        MetricError: If the protocol is unknown.

    Example:
        >>> scores = SemanticScores(num_classes=3, protocol="dataset")
        >>> truth = torch.tensor([[[0, 2]]])
        >>> scores.update(Outcome(truth, truth, num_classes=3))
        >>> scores.compute()["mIoU"]
        1.0
    """

    def __init__(
        self,
        num_classes: int = 71,
        protocol: SemanticProtocol = "avsbench",
        pad_to: int | None = 10,
    ) -> None:
        super().__init__()
        if protocol not in get_args(SemanticProtocol):
            raise MetricError(f"Expected protocol='avsbench' or 'dataset', got {protocol!r}.")
        self.num_classes = num_classes
        self.protocol = protocol
        self.pad_to = pad_to

    def measure(self, outcome: Outcome) -> dict[str, Tensor]:
        """Sum the counts or the scores of the clip's frames, `[3, C]` for each set of frames."""
        counts = class_counts(outcome.masks, outcome.truth, self.num_classes)
        rows = torch.stack(list(counts if self.protocol == "dataset" else class_scores(counts)))
        rows = rows.double()
        sets = outcome.frame_sets()
        if self.protocol == "avsbench":
            sets["all"] = torch.ones_like(sets["all"])
        record = {name: rows[:, chosen].sum(1) for name, chosen in sets.items()}
        return self.padded(record, len(outcome.masks))

    def padded(self, record: dict[str, Tensor], num_frames: int) -> dict[str, Tensor]:
        """Return the record of a clip of so many frames from its sums."""
        if self.protocol == "avsbench" and self.pad_to is not None:
            record["all"][:, 0] += max(0, self.pad_to - num_frames)
        return record

    def join(self, pieces: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Add up the sums of pieces of a clip."""
        return {name: self._total([piece[name] for piece in pieces]) for name in pieces[0]}

    def summarise(self, records: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        """Return `mIoU`, `F`, both without background (`_noBg`), `per_class` lists."""
        scores: dict[str, Any] = {"protocol": self.protocol}
        for name in ("all", "key", "normal"):
            sums = [record[name] for record in records if name in record]
            if not sums and name != "all":
                continue
            total = self._total(sums)
            if self.protocol == "dataset":
                scores |= named(dataset_scores(ClassCounts(*total.long())), name)
            else:
                scores |= named(avsbench_scores(*total), name)
        return scores | {"num_clips": len(records)}

    def _total(self, sums: Sequence[Tensor]) -> Tensor:
        return sum(sums, torch.zeros(3, self.num_classes, dtype=torch.float64))
