"""The made-up sounding world: scenes with exact truth, to try, test and learn on."""

from coprop_plugin.world.objects import KINDS
from coprop_plugin.world.scene import Scene, SceneObject
from coprop_plugin.world.truth import TruthBackend

__all__ = ["KINDS", "Scene", "SceneObject", "TruthBackend"]
