"""All adapters, imported so that the registry has them."""

from coprop_plugin.adapters.auralsam2 import AuralSAM2Backend
from coprop_plugin.adapters.avsegformer.avsegformer_backend import AVSegFormerBackend
from coprop_plugin.adapters.avsegformer.avsegformer_names import FAMILY as AVSEGFORMER_FAMILY
from coprop_plugin.adapters.callable import CallableBackend
from coprop_plugin.adapters.catr.catr_backend import CATRBackend
from coprop_plugin.adapters.catr.catr_names import FAMILY as CATR_FAMILY
from coprop_plugin.adapters.cavp import CAVPBackend
from coprop_plugin.adapters.combo import COMBOBackend, VCTBackend
from coprop_plugin.adapters.gavs import GAVSBackend
from coprop_plugin.adapters.mmseg import MMSegBackend
from coprop_plugin.adapters.released import Family
from coprop_plugin.adapters.sama import SAMABackend
from coprop_plugin.adapters.stepping_stones import SteppingStonesBackend
from coprop_plugin.adapters.tpavi.bigen import AVSBiGenBackend
from coprop_plugin.adapters.tpavi.tpavi_backend import TPAVIBackend
from coprop_plugin.adapters.tpavi.tpavi_names import FAMILY as TPAVI_FAMILY

FAMILIES: dict[str, Family] = {
    family.name: family for family in (TPAVI_FAMILY, AVSEGFORMER_FAMILY, CATR_FAMILY)
}
"""The families whose released weights our own models run, by the name of their adapter."""

__all__ = [
    "FAMILIES",
    "AVSBiGenBackend",
    "AVSegFormerBackend",
    "AuralSAM2Backend",
    "CATRBackend",
    "CAVPBackend",
    "COMBOBackend",
    "CallableBackend",
    "GAVSBackend",
    "MMSegBackend",
    "SAMABackend",
    "SteppingStonesBackend",
    "TPAVIBackend",
    "VCTBackend",
]
