"""Weights in files: our own, third-party checkpoints, transformers models, the hub."""

from coprop_plugin.checkpoints.hub import Pretrained
from coprop_plugin.checkpoints.hub_files import is_folder_or_id

__all__ = ["Pretrained", "is_folder_or_id"]
