"""CATR (Li et al., arXiv:2309.09709): our model and the adapter, also for released ones."""

from coprop_plugin.adapters.catr.catr_backend import CATRBackend, VideoSamples
from coprop_plugin.adapters.catr.catr_model import CATR
from coprop_plugin.adapters.catr.catr_names import FAMILY

__all__ = ["CATR", "FAMILY", "CATRBackend", "VideoSamples"]
