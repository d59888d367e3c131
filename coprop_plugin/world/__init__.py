"""Synthetic audio-visual scenes with exact ground truth, for trying, testing and training."""

from coprop_plugin.world.clips import InterleavedDataset, SpriteClips, WorldClips
from coprop_plugin.world.frames import WorldFrames
from coprop_plugin.world.objects import KINDS
from coprop_plugin.world.scene import Scene, SceneObject
from coprop_plugin.world.seconds import WorldSeconds
from coprop_plugin.world.truth import TruthBackend

__all__ = [
    "KINDS",
    "InterleavedDataset",
    "Scene",
    "SceneObject",
    "SpriteClips",
    "TruthBackend",
    "WorldClips",
    "WorldFrames",
    "WorldSeconds",
]
