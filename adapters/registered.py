"""Imports every adapter, so that the registry knows them all."""

from coprop_plugin.adapters.avsegformer.backend import AVSegFormerBackend
from coprop_plugin.adapters.callable import CallableBackend
from coprop_plugin.adapters.catr.backend import CATRBackend
from coprop_plugin.adapters.mmseg import MMSegBackend
from coprop_plugin.adapters.tpavi.backend import TPAVIBackend

__all__ = [
    "AVSegFormerBackend",
    "CATRBackend",
    "CallableBackend",
    "MMSegBackend",
    "TPAVIBackend",
]
