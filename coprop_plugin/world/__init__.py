"""Audio-visual scenes with exact ground truth: synthetic, or composed of photographs."""

from coprop_plugin.world.clips import InterleavedDataset, SpriteClips, WorldClips
from coprop_plugin.world.frames import WorldFrames
from coprop_plugin.world.objects import KINDS
from coprop_plugin.world.photographic import PhotographicObject, PhotographicScene
from coprop_plugin.world.photographic_assets import Assets
from coprop_plugin.world.photographic_clips import PhotographicClips, PhotographicFrames
from coprop_plugin.world.scene import Scene, SceneObject, SoundingScene
from coprop_plugin.world.seconds import WorldSeconds
from coprop_plugin.world.splits import SPLITS, made_up_scene, segments_of
from coprop_plugin.world.sprites import sprite_clip
from coprop_plugin.world.truth import TruthBackend

__all__ = [
    "KINDS",
    "SPLITS",
    "Assets",
    "InterleavedDataset",
    "PhotographicClips",
    "PhotographicFrames",
    "PhotographicObject",
    "PhotographicScene",
    "Scene",
    "SceneObject",
    "SoundingScene",
    "SpriteClips",
    "TruthBackend",
    "WorldClips",
    "WorldFrames",
    "WorldSeconds",
    "made_up_scene",
    "segments_of",
    "sprite_clip",
]
