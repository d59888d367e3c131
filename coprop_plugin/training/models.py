"""The stages of training as mmengine models: losses of a batch, or outcomes to score."""

from coprop_plugin.training.change_calibration import CalibrateChanges
from coprop_plugin.training.change_stage import ChangeDetectorTraining
from coprop_plugin.training.family_stage import FamilyTraining
from coprop_plugin.training.keyframe_stage import KeyframeTraining
from coprop_plugin.training.propagator_stage import PropagatorTraining
from coprop_plugin.training.refiner_stage import RefinerTraining
from coprop_plugin.training.sounding_object_stage import SoundingObjectTraining

__all__ = [
    "CalibrateChanges",
    "ChangeDetectorTraining",
    "FamilyTraining",
    "KeyframeTraining",
    "PropagatorTraining",
    "RefinerTraining",
    "SoundingObjectTraining",
]
