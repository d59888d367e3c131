"""The three steps of Co-Prop around a model: control points, keyframes, propagation."""

from coprop_plugin.pipeline.coprop import CoProp

__all__ = ["CoProp"]
