"""Eq. (3), (6) and (7): audio-guided propagation of masks from frame to frame."""

from coprop_plugin.audio.small_encoder import SmallLogMelEncoder
from coprop_plugin.propagation.appearance import AppearancePropagator
from coprop_plugin.propagation.baselines import FlowPropagator, HoldPropagator
from coprop_plugin.propagation.checkpoint import (
    load_aot_checkpoint,
    load_propagator,
    save_propagator,
)
from coprop_plugin.propagation.propagator import AudioInsertPropagator
from coprop_plugin.propagation.refined import RefinedPropagator
from coprop_plugin.propagation.refiner import (
    MaskRefiner,
    load_mask_refiner,
    save_mask_refiner,
)
from coprop_plugin.propagation.resolve import as_propagator
from coprop_plugin.propagation.video_trackers import (
    EdgeTAMPropagator,
    Sam2Propagator,
    Sam3Propagator,
)

__all__ = [
    "AppearancePropagator",
    "AudioInsertPropagator",
    "EdgeTAMPropagator",
    "FlowPropagator",
    "HoldPropagator",
    "MaskRefiner",
    "RefinedPropagator",
    "Sam2Propagator",
    "Sam3Propagator",
    "SmallLogMelEncoder",
    "as_propagator",
    "load_aot_checkpoint",
    "load_mask_refiner",
    "load_propagator",
    "save_mask_refiner",
    "save_propagator",
]
