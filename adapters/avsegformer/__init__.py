"""AVSegFormer (Gao et al., arXiv:2307.01146): our model and the adapter, also for released ones."""

from coprop_plugin.adapters.avsegformer.avsegformer_backend import AVSegFormerBackend
from coprop_plugin.adapters.avsegformer.avsegformer_model import AVSegFormer
from coprop_plugin.adapters.avsegformer.avsegformer_names import FAMILY

__all__ = ["FAMILY", "AVSegFormer", "AVSegFormerBackend"]
