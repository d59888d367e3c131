"""The three steps of Co-Prop around a model: control points, keyframes, propagation.

`coprop.CoProp` reads as the paper's figure; `wrap` puts it around a model, `redo` computes the
segments of a result that an edit changes.
"""

from coprop_plugin.pipeline.auto_segment import AutoOptions
from coprop_plugin.pipeline.bare_frames import bare_frames
from coprop_plugin.pipeline.candidates import CandidateOptions
from coprop_plugin.pipeline.coprop import CoProp
from coprop_plugin.pipeline.mask_logits import MaskLogits, agreement, combined, confidence
from coprop_plugin.pipeline.prefetch import PrefetchedControlPoints
from coprop_plugin.pipeline.redo import Redone, redo
from coprop_plugin.pipeline.schedule import KeyframeSchedule
from coprop_plugin.pipeline.segments import Segment, propagate_batch
from coprop_plugin.pipeline.trusted_keyframes import trusted_runs
from coprop_plugin.pipeline.windows import ClipInHand, StreamedVideo, WindowLimits, read_audio

__all__ = [
    "AutoOptions",
    "CandidateOptions",
    "ClipInHand",
    "CoProp",
    "KeyframeSchedule",
    "MaskLogits",
    "PrefetchedControlPoints",
    "Redone",
    "Segment",
    "StreamedVideo",
    "WindowLimits",
    "agreement",
    "bare_frames",
    "combined",
    "confidence",
    "propagate_batch",
    "read_audio",
    "redo",
    "trusted_runs",
]
