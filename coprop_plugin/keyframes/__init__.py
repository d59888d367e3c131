"""Eq. (2): our own trainable Keyframe Processor, a backend like the others."""

from coprop_plugin.errors import KeyframeError
from coprop_plugin.keyframes.processor import KeyframePrediction, KeyframeProcessor
from coprop_plugin.keyframes.processor_weights import (
    load_keyframe_processor,
    save_keyframe_processor,
)

__all__ = [
    "KeyframeError",
    "KeyframePrediction",
    "KeyframeProcessor",
    "load_keyframe_processor",
    "save_keyframe_processor",
]
