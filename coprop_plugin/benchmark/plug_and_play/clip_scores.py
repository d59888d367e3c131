"""The record of one clip, small enough for a line of JSON, and the scores of many records."""

from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev
from typing import Any

import torch
from torch import Tensor

from coprop_plugin.benchmark.metrics import (
    AlignmentScores,
    BoundaryErrors,
    BoundaryScores,
    ControlPointScores,
    MaskScores,
    Outcome,
    SemanticProtocol,
    SemanticScores,
)
from coprop_plugin.types import ControlPoints

PARTS: dict[str, tuple[str, bool] | None] = {
    "all": None,
    "changing": ("changes", True),
    "unchanging": ("changes", False),
    "with_silence": ("silence", True),
    "without_silence": ("silence", False),
}
"""Parts of the clips: a field of their record and its value. A clip of which it is unknown whether
the sounding objects change is in neither `changing` nor `unchanging`."""

_MASKS = ("M_J", "M_F")
_COSTS = ("seconds", "cpu_seconds")
_PEAKS = ("peak_mb", "gpu_mb")
_PROTOCOLS: dict[str, SemanticProtocol] = {"avsbench_": "avsbench", "class_": "dataset"}


class ClipScores:
    """The scores of one clip from its prediction piece by piece, so that it may have any length.

    Of a frame only sums are kept, and which classes sound.

    Example:
        >>> scores = ClipScores()
        >>> for _ in range(2):
        ...     scores.add(Outcome(torch.ones(5, 8, 8).long(), torch.ones(5, 8, 8).long()))
        >>> scores.record(None, None)["alignment"]["all"][3]
        10.0
    """

    def __init__(self) -> None:
        self._sums: dict[str, Any] = {}
        self._sounding: list[tuple[Tensor, Tensor]] = []
        self._times: list[Tensor] = []
        self._num_classes = 1
        self._painted = self._pixels = 0
        self._has_silence, self._is_labelled = False, True

    def add(self, outcome: Outcome) -> None:
        """Add the next frames; an outcome's own control points do not count."""
        self._num_classes = outcome.num_classes
        for name, meter in self._meters().items():
            piece = meter.measure(outcome)
            self._sums[name] = meter.join([self._sums[name], piece]) if self._times else piece
        self._sounding.append(BoundaryScores().sounding(outcome))
        self._times.append(outcome.times)
        self._painted += int((outcome.masks > 0).sum())
        self._pixels += outcome.masks.numel()
        self._has_silence |= bool((~outcome.truth.flatten(1).any(1) & outcome.labelled).any())
        self._is_labelled &= bool(outcome.labelled.all())

    def record(self, points: ControlPoints | None, true: ControlPoints | None) -> dict[str, Any]:
        """Return the record of the clip in JSON types, for `scores_of`.

        Args:
            points: The predicted control points, if any.
            true: The true control points, if known.
        """
        scored, times = MaskScores().summarise([self._sums["masks"]]), torch.cat(self._times)
        boundaries = BoundaryErrors(), BoundaryErrors()
        if self._is_labelled:
            predicted, sounding = map(torch.cat, zip(*self._sounding, strict=True))
            boundaries = BoundaryScores().compare(predicted, sounding, times)
        classes = {
            name: SemanticScores(self._num_classes, protocol)
            .padded(self._sums[name], len(times))["all"]
            .tolist()
            for name, protocol in self._protocols().items()
        }
        return {
            "painted": self._painted / self._pixels,
            "changes": None if true is None else len(true) > 1,
            "silence": self._has_silence,
            "masks": {name: s for name, s in scored.items() if name.startswith(_MASKS)},
            "alignment": self._sums["alignment"],
            "boundaries": [[e.errors_s, e.missed, e.spurious] for e in boundaries],
            "control_points": ControlPointScores().compare(points, true),
            "classes": classes or None,
        }

    def _protocols(self) -> dict[str, SemanticProtocol]:
        """Return how classes are scored; binary masks have none."""
        return _PROTOCOLS if self._num_classes > 1 else {}

    def _meters(self) -> dict[str, Any]:
        """Return the scores that are sums over frames, which `join` adds up."""
        # Clips are padded, not pieces.
        classes = {
            name: SemanticScores(self._num_classes, protocol, pad_to=None)
            for name, protocol in self._protocols().items()
        }
        return {"masks": MaskScores(), "alignment": AlignmentScores(), **classes}


def scores_of(records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the scores of clips.

    M_J and M_F are means over clips, as AVSBench's with one clip a batch; times are medians, as
    the first clip includes imports; memory is the maximum; `calls` is the mean share of frames
    that the model was run on; the others are over the frames, boundaries and control points of all
    clips.

    Args:
        records: Records of `ClipScores` with the fields of `Cost`.

    Returns:
        Scores by name, None where undefined.
    """
    names = dict.fromkeys(name for record in records for name in record["masks"])
    scores: dict[str, Any] = {
        name: _mean([r["masks"].get(name) for r in records]) for name in names
    }
    scores |= AlignmentScores().summarise([record["alignment"] for record in records])
    scores |= BoundaryScores().summarise([_boundaries(r["boundaries"]) for r in records])
    scores |= ControlPointScores().summarise([record["control_points"] for record in records])
    scores |= _class_scores([record["classes"] for record in records])
    scores |= {name: median(record[name] for record in records) for name in _COSTS}
    scores["calls"] = fmean(record["calls"] for record in records)
    for name in _PEAKS:
        scores[name] = max((r[name] for r in records if r[name] is not None), default=None)
    return {name: score for name, score in scores.items() if _is_reported(name, score)}


def _boundaries(sides: Sequence[Sequence[Any]]) -> tuple[BoundaryErrors, BoundaryErrors]:
    """Read the errors of onsets and offsets that `ClipScores` wrote."""
    onsets, offsets = (BoundaryErrors(tuple(e), *counts) for e, *counts in sides)
    return onsets, offsets


def _is_reported(name: str, score: Any) -> bool:
    if name.endswith(("_key", "_normal")):
        return name.partition("_key")[0].partition("_normal")[0] in ("M_J", "M_F", "AR")
    number = score is None or isinstance(score, int | float)
    return number and name != "window_s" and not name.startswith("num_")


def _class_scores(records: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    known = [record for record in records if record is not None]
    if not known:
        return {}
    scores: dict[str, Any] = {}
    for prefix, protocol in _PROTOCOLS.items():
        sums = [torch.tensor(record[prefix], dtype=torch.float64) for record in known]
        found = SemanticScores(sums[0].shape[1], protocol).summarise([{"all": s} for s in sums])
        scores |= {f"{prefix}{name}": found[name] for name in ("mIoU", "F")}
    return scores


def part_of(records: Sequence[Mapping[str, Any]], part: str) -> list[Mapping[str, Any]]:
    """Return the records of one of `PARTS`, of clips with their own audio."""
    records = [record for record in records if record.get("audio", "original") == "original"]
    condition = PARTS[part]
    if condition is None:
        return records
    field, value = condition
    return [record for record in records if record[field] is value]


def mean_and_spread(
    sets: Sequence[Mapping[str, float | None]],
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Return the mean of every score over sets of clips, and its standard deviation.

    The deviation is that of a sample (n - 1), None for one set. Sets without a score are left out.

    Example:
        >>> mean_and_spread([{"M_J": 0.5}, {"M_J": 0.7}])[0]
        {'M_J': 0.6}
    """
    names = dict.fromkeys(name for scores in sets for name in scores)
    columns = {n: _known([scores.get(n) for scores in sets]) for n in names}
    mean = {name: _mean(values) for name, values in columns.items()}
    spread = {n: stdev(values) if len(values) > 1 else None for n, values in columns.items()}
    return mean, spread


def _mean(values: Sequence[float | None]) -> float | None:
    known = _known(values)
    return fmean(known) if known else None


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]
