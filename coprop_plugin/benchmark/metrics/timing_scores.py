"""Scores of timing over clips: alignment, onsets and offsets, control points."""

from collections.abc import Sequence
from statistics import median
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from coprop_plugin.benchmark.metrics.alignment import (
    ALIGNMENT_THRESHOLDS,
    aligned_frames,
    false_alarms,
    sounding_classes,
)
from coprop_plugin.benchmark.metrics.clip_outcome import Outcome
from coprop_plugin.benchmark.metrics.meter import Meter, named, ratio
from coprop_plugin.benchmark.metrics.onsets import (
    BoundaryErrors,
    boundary_errors,
    matched_control_points,
)
from coprop_plugin.errors import MetricError
from coprop_plugin.types import ControlPoints

BoundaryScope = Literal["class", "any"]
"""Whose onsets and offsets count: of each class, or of any sound."""


class AlignmentScores(Meter[dict[str, list[float]]]):
    """Alignment Rate (Fig. 3 and section 4.2), and the rate of false alarms in silent frames.

    The paper does not define when a frame is aligned; `aligned_frames` does. Rates are over frames
    of the whole data set. No AVS benchmark reports the silent-frame false-positive rate.

    Args:
        thresholds: IoUs that objects must reach; `AR` is the rate at 0.5 if it is one of them.

    Example:
        >>> scores = AlignmentScores()
        >>> scores.update(Outcome(torch.ones(5, 8, 8).long(), torch.zeros(5, 8, 8).long()))
        >>> scores.compute()["AR"], scores.compute()["silent_FPR"]
        (0.0, 1.0)
    """

    def __init__(self, thresholds: Sequence[float] = ALIGNMENT_THRESHOLDS) -> None:
        super().__init__()
        self.thresholds = tuple(thresholds)

    def measure(self, outcome: Outcome) -> dict[str, list[float]]:
        """Count aligned, silent, falsely sounding and missed frames in each set of frames."""
        num_classes = outcome.num_classes
        aligned = aligned_frames(outcome.masks, outcome.truth, self.thresholds, num_classes)
        silent, alarm, area = false_alarms(outcome.masks, outcome.truth)
        missed = ~silent & ~outcome.masks.flatten(1).any(1)
        rows = torch.stack(
            [*aligned.double(), torch.ones(len(silent)), silent, alarm, area, missed]
        ).double()
        return {
            name: rows[:, chosen].sum(1).tolist() for name, chosen in outcome.frame_sets().items()
        }

    def join(self, pieces: Sequence[dict[str, list[float]]]) -> dict[str, list[float]]:
        """Add up the counts of pieces of a clip."""
        return {name: self._total([piece[name] for piece in pieces]) for name in pieces[0]}

    def summarise(self, records: Sequence[dict[str, list[float]]]) -> dict[str, Any]:
        """Return `AR@...`, `AR`, `silent_FPR`, `silent_area`, `missed_rate`, and the counts.

        `silent_area` is the mean share of predicted pixels in a silent frame, `missed_rate` the
        share of sounding frames in which nothing is predicted.
        """
        scores: dict[str, Any] = {}
        for name in ("all", "key", "normal"):
            rows = [record[name] for record in records if name in record]
            if rows or name == "all":
                scores |= named(self._of(rows), name)
        return scores

    def _total(self, rows: Sequence[list[float]]) -> list[float]:
        zeros = [0.0] * (len(self.thresholds) + 5)
        return [sum(column) for column in zip(zeros, *rows, strict=True)]

    def _of(self, rows: list[list[float]]) -> dict[str, Any]:
        *aligned, frames, silent, alarms, area, missed = self._total(rows)
        scores = {
            f"AR@{threshold:g}": ratio(count, frames)
            for threshold, count in zip(self.thresholds, aligned, strict=True)
        }
        if 0.5 in self.thresholds:
            scores = {"AR": scores["AR@0.5"], **scores}
        return scores | {
            "silent_FPR": ratio(alarms, silent),
            "silent_area": ratio(area, silent),
            "missed_rate": ratio(missed, frames - silent),
            "num_frames": int(frames),
            "num_silent_frames": int(silent),
        }


class BoundaryScores(Meter[tuple[BoundaryErrors, BoundaryErrors]]):
    """Errors of predicted onsets and offsets of sound, in seconds.

    See `boundary_errors`. Clips with unlabelled frames are left out.

    Args:
        scope: `"class"`: onsets and offsets of each class that occurs, taken together. `"any"`:
            those of sound of any class. For binary masks both are the same.
        window_s: Largest error of a pair, in seconds.
        min_area: The share of a frame that a class must exceed to count as sounding.

    Raises:
        MetricError: If the scope is unknown.

    Example:
        >>> truth = torch.tensor([0, 0, 1, 1, 1]).reshape(5, 1, 1)
        >>> late = torch.tensor([0, 0, 0, 1, 1]).reshape(5, 1, 1)
        >>> scores = BoundaryScores()
        >>> scores.update(Outcome(late, truth))
        >>> scores.compute()["onset_error_s"], scores.compute()["offset_error_s"]
        (1.0, None)
    """

    def __init__(
        self,
        scope: BoundaryScope = "class",
        window_s: float = 2.0,
        min_area: float = 0.0,
    ) -> None:
        super().__init__()
        if scope not in get_args(BoundaryScope):
            raise MetricError(f"Expected scope='class' or 'any', got {scope!r}.")
        self.scope = scope
        self.window_s = window_s
        self.min_area = min_area

    def measure(self, outcome: Outcome) -> tuple[BoundaryErrors, BoundaryErrors]:
        """Compare onsets and offsets of every class, or of any sound."""
        if not bool(outcome.labelled.all()):
            return BoundaryErrors(), BoundaryErrors()
        return self.compare(*self.sounding(outcome), outcome.times)

    def sounding(self, outcome: Outcome) -> tuple[Tensor, Tensor]:
        """Return which classes sound by the prediction and in truth, both `[T, C - 1]` bool."""
        num_classes = max(outcome.num_classes, 2)
        predicted = sounding_classes(outcome.masks, num_classes, self.min_area)
        return predicted, sounding_classes(outcome.truth, num_classes)

    def compare(
        self, predicted: Tensor, true: Tensor, times: Tensor
    ) -> tuple[BoundaryErrors, BoundaryErrors]:
        """Return the record of a clip from what `sounding` says of its frames.

        Args:
            predicted: `[T, C - 1]` bool.
            true: The same.
            times: `[T]`, time stamps in seconds.
        """
        onsets, offsets = BoundaryErrors(), BoundaryErrors()
        if self.scope == "any":
            predicted, true = predicted.any(1, keepdim=True), true.any(1, keepdim=True)
        for column in (predicted | true).any(0).nonzero().flatten().tolist():
            of_class = boundary_errors(predicted[:, column], true[:, column], times, self.window_s)
            onsets, offsets = onsets + of_class[0], offsets + of_class[1]
        return onsets, offsets

    def summarise(self, records: Sequence[tuple[BoundaryErrors, BoundaryErrors]]) -> dict[str, Any]:
        """Return for onsets and offsets the mean, median and signed error, and the counts.

        `_error_s` is the mean distance, `_bias_s` the mean signed error (above 0 is late), both
        over matched pairs only: read them together with `_missed` and `_spurious`.
        """
        scores: dict[str, Any] = {"scope": self.scope, "window_s": self.window_s}
        for row, name in enumerate(("onset", "offset")):
            total = sum((record[row] for record in records), BoundaryErrors())
            distances = [abs(error) for error in total.errors_s]
            scores |= {
                f"{name}_error_s": ratio(sum(distances), len(distances)),
                f"{name}_median_s": median(distances) if distances else None,
                f"{name}_bias_s": ratio(sum(total.errors_s), len(distances)),
                f"{name}_matched": len(distances),
                f"{name}_missed": total.missed,
                f"{name}_spurious": total.spurious,
            }
        return scores


class ControlPointScores(Meter[list[tuple[int, int, int]] | None]):
    """Precision, recall and F1 of control points over the whole data set, without frame 0.

    Clips without predicted or without true control points are left out.

    Args:
        tolerances: Largest distances of a pair in frames; 0 requires the same frame.

    Example:
        >>> from coprop_plugin.types import ControlPoints
        >>> scores, masks = ControlPointScores(), torch.zeros(3, 4, 4).long()
        >>> points, true = ControlPoints([1, 1, 0]), ControlPoints([1, 0, 1])
        >>> scores.update(Outcome(masks, masks, control_points=points, true_control_points=true))
        >>> scores.compute()["F1@0"], scores.compute()["F1@1"]
        (0.0, 1.0)
    """

    def __init__(self, tolerances: Sequence[int] = (0, 1)) -> None:
        super().__init__()
        self.tolerances = tuple(tolerances)

    def measure(self, outcome: Outcome) -> list[tuple[int, int, int]] | None:
        """Count pairs, predicted and true points at each tolerance."""
        return self.compare(outcome.control_points, outcome.true_control_points)

    def compare(
        self, points: ControlPoints | None, true: ControlPoints | None
    ) -> list[tuple[int, int, int]] | None:
        """Return the record of a clip from its predicted and its true control points."""
        if points is None or true is None:
            return None
        return [matched_control_points(points, true, tolerance) for tolerance in self.tolerances]

    def summarise(self, records: Sequence[list[tuple[int, int, int]] | None]) -> dict[str, Any]:
        """Return `precision@n`, `recall@n`, `F1@n` for tolerance n, and the counts."""
        clips = [record for record in records if record is not None]
        scores: dict[str, Any] = {}
        predicted = true = 0
        for row, tolerance in enumerate(self.tolerances):
            totals = [sum(clip[row][k] for clip in clips) for k in range(3)]
            pairs, predicted, true = totals
            scores[f"precision@{tolerance}"] = ratio(pairs, predicted)
            scores[f"recall@{tolerance}"] = ratio(pairs, true)
            scores[f"F1@{tolerance}"] = ratio(2 * pairs, predicted + true)
        return scores | {"num_predicted": predicted, "num_true": true, "num_clips": len(clips)}
