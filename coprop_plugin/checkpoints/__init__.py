"""Weights in files: our own, third-party checkpoints, transformers models, the hub."""

from coprop_plugin.checkpoints.downloads import (
    Cached,
    cache_folder,
    cached_checkpoint,
    damaged_files,
    fetch_checkpoint,
    remove_checkpoint,
    repair_checkpoint,
)
from coprop_plugin.checkpoints.hub import WEIGHTS_FILE, Pretrained, is_folder_or_id
from coprop_plugin.checkpoints.native import SHIPPED, format_of, load_module, save_module
from coprop_plugin.checkpoints.pretrained_models import (
    PRETRAINED_MODELS,
    PretrainedModel,
    checkpoint_of,
    find_pretrained,
    list_pretrained,
    pretrained_model,
)
from coprop_plugin.checkpoints.transformers_models import load_pretrained, transformers_class
from coprop_plugin.checkpoints.untrusted import read_weights

__all__ = [
    "PRETRAINED_MODELS",
    "SHIPPED",
    "WEIGHTS_FILE",
    "Cached",
    "Pretrained",
    "PretrainedModel",
    "cache_folder",
    "cached_checkpoint",
    "checkpoint_of",
    "damaged_files",
    "fetch_checkpoint",
    "find_pretrained",
    "format_of",
    "is_folder_or_id",
    "list_pretrained",
    "load_module",
    "load_pretrained",
    "pretrained_model",
    "read_weights",
    "remove_checkpoint",
    "repair_checkpoint",
    "save_module",
    "transformers_class",
]
