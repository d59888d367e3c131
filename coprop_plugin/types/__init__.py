"""The data types: a clip, its control points, its masks, and the four exchangeable parts.

Conventions, each pinned by a test named after it in `tests/test_conventions.py`:

- frames are RGB: `[T, 3, H, W]`, uint8 in 0..255 or float in [0, 1]; networks normalise themselves.
- waveform is mono: `[samples]`, float in [-1, 1], at `sample_rate` Hz; its first sample is time 0.
- time is a frame index: seconds appear in `times` and in names that end in `_s` only.
- times are time stamps: `times[t]` is when frame t is shown, in seconds, never `t / fps`.
- a frame stands for its span: from its time stamp to the next; with AVSBench's sampling for the
  second at whose end it was taken. An object that sounds for half of the span sounds in the frame.
- a keyframe hears its own segment: its audio window is the 0.975 s with which its segment begins.
- a flag of 1 is a change: the set of sounding objects differs from the frame before (Eq. 1).
- flag 0 is always 1: the first frame begins the first segment.
- segments are half-open: a segment starts on its control point and stops before the next one.
- 0 is the silent background: in masks of every kind; binary models use 1, AVSS its class index.
- logits before, probabilities after: backends and propagators give logits, results probabilities.
"""

from coprop_plugin.types.annotation import Annotation, Span
from coprop_plugin.types.class_names import checked_class_names
from coprop_plugin.types.clip import Clip, Sampling, Source, spans_of
from coprop_plugin.types.clip_names import named, naming
from coprop_plugin.types.control_points import ControlPoints
from coprop_plugin.types.jaccard import jaccard
from coprop_plugin.types.protocols import (
    AudioEncoder,
    AudioLLM,
    BatchedPropagator,
    ControlPointProvider,
    DropInBackend,
    Hook,
    KeyframeBackend,
    LazyPart,
    LookaheadPropagator,
    NamingBackend,
    Propagator,
    RevisableCall,
    SharingBackend,
    StreamingProvider,
    UInt8Propagator,
    UnpackedCall,
)
from coprop_plugin.types.results import (
    ABSENT_LOGIT,
    FrameResult,
    MaskKind,
    MaskOrigin,
    SegmentationResult,
)
from coprop_plugin.types.segment_sounds import Box, Sounds
from coprop_plugin.types.timeline import AVSBENCH_INSTANT_S, avsbench_times
from coprop_plugin.types.tracks import DEFAULT_TRACKS, Track, Tracks

__all__ = [
    "ABSENT_LOGIT",
    "AVSBENCH_INSTANT_S",
    "Annotation",
    "AudioEncoder",
    "AudioLLM",
    "Box",
    "BatchedPropagator",
    "Clip",
    "ControlPointProvider",
    "ControlPoints",
    "DEFAULT_TRACKS",
    "DropInBackend",
    "FrameResult",
    "Hook",
    "KeyframeBackend",
    "LazyPart",
    "LookaheadPropagator",
    "UInt8Propagator",
    "MaskKind",
    "MaskOrigin",
    "NamingBackend",
    "Propagator",
    "RevisableCall",
    "Sampling",
    "SegmentationResult",
    "SharingBackend",
    "Sounds",
    "Source",
    "Span",
    "StreamingProvider",
    "Track",
    "Tracks",
    "UnpackedCall",
    "avsbench_times",
    "checked_class_names",
    "jaccard",
    "named",
    "naming",
    "spans_of",
]
