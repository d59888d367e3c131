"""Our own networks as folders and as repositories of the Hugging Face hub."""

from coprop_plugin.hub.files import is_folder_or_id
from coprop_plugin.hub.pretrained import Pretrained

__all__ = ["Pretrained", "is_folder_or_id"]
