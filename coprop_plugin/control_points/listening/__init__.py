"""Audio analysis: mel rows, silence, change points and boundaries, features, detectors."""

from coprop_plugin.control_points.listening.boundaries import (
    SILENT,
    Boundary,
    MomentFeatures,
    Moments,
    find_boundaries,
)
from coprop_plugin.control_points.listening.change_decoding import (
    FoundChange,
    Steps,
    find_changes,
)
from coprop_plugin.control_points.listening.change_network import (
    ChangeNetwork,
    NetworkOutputs,
    load_change_network,
    save_change_network,
)
from coprop_plugin.control_points.listening.change_points import ChangePoint, find_change_points
from coprop_plugin.control_points.listening.detector_loading import load_detector
from coprop_plugin.control_points.listening.detectors import (
    Activity,
    AstDetector,
    Detector,
    PeAudioDetector,
    windows_at_hop,
)
from coprop_plugin.control_points.listening.features import (
    consecutive_similarity,
    frame_features,
    timbre,
)
from coprop_plugin.control_points.listening.listener import Heard, Listener
from coprop_plugin.control_points.listening.mel_rows import (
    MelRows,
    clip_mel_rows,
    waveform_around,
)
from coprop_plugin.control_points.listening.sides import compare_sides
from coprop_plugin.control_points.listening.silence import Sound, find_sound
from coprop_plugin.control_points.listening.speech import SpeechDetector
from coprop_plugin.control_points.listening.visible_words import VISIBLE
from coprop_plugin.control_points.listening.zero_shot import ClapDetector

__all__ = [
    "SILENT",
    "Activity",
    "AstDetector",
    "Boundary",
    "ChangeNetwork",
    "ChangePoint",
    "ClapDetector",
    "Detector",
    "FoundChange",
    "Heard",
    "Listener",
    "MelRows",
    "MomentFeatures",
    "Moments",
    "NetworkOutputs",
    "PeAudioDetector",
    "Sound",
    "SpeechDetector",
    "Steps",
    "VISIBLE",
    "clip_mel_rows",
    "compare_sides",
    "consecutive_similarity",
    "find_boundaries",
    "find_change_points",
    "find_changes",
    "find_sound",
    "frame_features",
    "load_change_network",
    "load_detector",
    "save_change_network",
    "timbre",
    "waveform_around",
    "windows_at_hop",
]
