"""Blocks that several rooms build their networks from."""

from coprop_plugin.layers.backbones import PVT_V2, RESNETS, TransformersBackbone, build_backbone
from coprop_plugin.layers.eval_mode import device_of, evaluating
from coprop_plugin.layers.folding import convolve
from coprop_plugin.layers.frame_batches import segment_in_batches
from coprop_plugin.layers.module_list import ModuleListOf
from coprop_plugin.layers.normalisation import denormalise, normalise
from coprop_plugin.layers.residual import ResidualBlock
from coprop_plugin.layers.small_backbone import SmallBackbone

__all__ = [
    "PVT_V2",
    "RESNETS",
    "ModuleListOf",
    "ResidualBlock",
    "SmallBackbone",
    "TransformersBackbone",
    "build_backbone",
    "convolve",
    "denormalise",
    "device_of",
    "evaluating",
    "normalise",
    "segment_in_batches",
]
