"""How an audio language model is prompted: conversations, windows of long audio, examples."""

from coprop_plugin.control_points.language.audio_windows import (
    AudioWindow,
    audio_between,
    merged,
    question_spans,
    windows_of,
)
from coprop_plugin.control_points.language.base import Strategy
from coprop_plugin.control_points.language.categories import alike, mentioned, normalised
from coprop_plugin.control_points.language.conversation import Conversation
from coprop_plugin.control_points.language.examples import Example, flags_a_second
from coprop_plugin.control_points.language.name_categories import ask_for_categories, read_names

__all__ = [
    "AudioWindow",
    "Conversation",
    "Example",
    "Strategy",
    "alike",
    "ask_for_categories",
    "audio_between",
    "flags_a_second",
    "mentioned",
    "merged",
    "normalised",
    "question_spans",
    "read_names",
    "windows_of",
]
