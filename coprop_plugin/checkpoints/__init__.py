"""Weights in files: our own, third-party checkpoints, transformers models, the hub."""

from coprop_plugin.checkpoints.hub import WEIGHTS_FILE, Pretrained, is_folder_or_id
from coprop_plugin.checkpoints.native import SHIPPED, format_of, load_module, save_module
from coprop_plugin.checkpoints.transformers_models import load_pretrained, transformers_class
from coprop_plugin.checkpoints.untrusted import read_weights

__all__ = [
    "SHIPPED",
    "WEIGHTS_FILE",
    "Pretrained",
    "format_of",
    "is_folder_or_id",
    "load_module",
    "load_pretrained",
    "read_weights",
    "save_module",
    "transformers_class",
]
