"""Blocks that several rooms build their networks from."""

from coprop_plugin.layers.backbones import PVT_V2, RESNETS, TransformersBackbone, build_backbone
from coprop_plugin.layers.device_check import check_parts, checked_device
from coprop_plugin.layers.eval_mode import device_of, evaluating, held_modules
from coprop_plugin.layers.folding import convolve
from coprop_plugin.layers.frame_batches import segment_in_batches
from coprop_plugin.layers.module_list import ModuleListOf
from coprop_plugin.layers.normalisation import as_rgb, denormalise, normalise
from coprop_plugin.layers.picture_size import resized
from coprop_plugin.layers.residual import ResidualBlock
from coprop_plugin.layers.small_backbone import SmallBackbone
from coprop_plugin.layers.transfer import CPUCopy, to_device

__all__ = [
    "CPUCopy",
    "PVT_V2",
    "RESNETS",
    "ModuleListOf",
    "ResidualBlock",
    "SmallBackbone",
    "TransformersBackbone",
    "as_rgb",
    "build_backbone",
    "check_parts",
    "checked_device",
    "convolve",
    "denormalise",
    "device_of",
    "evaluating",
    "held_modules",
    "normalise",
    "resized",
    "segment_in_batches",
    "to_device",
]
