"""Eq. (3), (6) and (7): masks carried from frame to frame under the guidance of the sound."""

from coprop_plugin.audio.small_encoder import SmallLogMelEncoder
from coprop_plugin.propagation.baselines import FlowPropagator, HoldPropagator
from coprop_plugin.propagation.propagator import AudioInsertPropagator

__all__ = ["AudioInsertPropagator", "FlowPropagator", "HoldPropagator", "SmallLogMelEncoder"]
