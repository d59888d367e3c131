"""TPAVI (Zhou et al., arXiv:2207.05042): our model and the adapter, also for released ones."""

from coprop_plugin.adapters.tpavi.bigen import AVSBiGenBackend
from coprop_plugin.adapters.tpavi.tpavi_backend import TPAVIBackend
from coprop_plugin.adapters.tpavi.tpavi_model import TPAVI
from coprop_plugin.adapters.tpavi.tpavi_names import FAMILY

__all__ = ["FAMILY", "TPAVI", "AVSBiGenBackend", "TPAVIBackend"]
