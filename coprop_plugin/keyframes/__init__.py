"""Eq. (2): our own keyframe models, backends like the others."""

from coprop_plugin.errors import KeyframeError
from coprop_plugin.keyframes.processor import KeyframePrediction, KeyframeProcessor
from coprop_plugin.keyframes.processor_weights import (
    load_keyframe_processor,
    save_keyframe_processor,
)
from coprop_plugin.keyframes.sounding_object import (
    SoundingObject,
    load_sounding_object,
    save_sounding_object,
)

__all__ = [
    "KeyframeError",
    "KeyframePrediction",
    "KeyframeProcessor",
    "SoundingObject",
    "load_keyframe_processor",
    "load_sounding_object",
    "save_keyframe_processor",
    "save_sounding_object",
]
