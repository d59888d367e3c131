"""Scores of masks and of their timing.

Three layers: functions of tensors; scores collected over clips (`update`, `compute`); and the same
as mmengine metrics (`mmengine_metrics`, found through the registry `METRICS`).
"""

from coprop_plugin.benchmark.metrics.alignment import (
    ALIGNMENT_THRESHOLDS,
    aligned_frames,
    false_alarms,
    sounding_classes,
)
from coprop_plugin.benchmark.metrics.binary import (
    f_curves,
    f_measure,
    frame_ious,
    mask_iou,
    precision_recall,
)
from coprop_plugin.benchmark.metrics.clip_outcome import Outcome, Truth
from coprop_plugin.benchmark.metrics.instance_tracks import VideoOverlaps, track_scores
from coprop_plugin.benchmark.metrics.mask_scores import MaskScores, SemanticProtocol, SemanticScores
from coprop_plugin.benchmark.metrics.meter import Meter
from coprop_plugin.benchmark.metrics.onsets import (
    BoundaryErrors,
    boundary_errors,
    match_in_order,
    matched_control_points,
)
from coprop_plugin.benchmark.metrics.semantic import (
    ClassCounts,
    avsbench_scores,
    class_counts,
    class_scores,
    dataset_scores,
    frame_miou,
)
from coprop_plugin.benchmark.metrics.timing_scores import (
    AlignmentScores,
    BoundaryScores,
    ControlPointScores,
)

__all__ = [
    "ALIGNMENT_THRESHOLDS",
    "AlignmentScores",
    "BoundaryErrors",
    "BoundaryScores",
    "ClassCounts",
    "ControlPointScores",
    "MaskScores",
    "Meter",
    "Outcome",
    "SemanticProtocol",
    "SemanticScores",
    "Truth",
    "VideoOverlaps",
    "aligned_frames",
    "avsbench_scores",
    "boundary_errors",
    "class_counts",
    "class_scores",
    "dataset_scores",
    "f_curves",
    "f_measure",
    "false_alarms",
    "frame_ious",
    "frame_miou",
    "mask_iou",
    "match_in_order",
    "matched_control_points",
    "precision_recall",
    "sounding_classes",
    "track_scores",
]
