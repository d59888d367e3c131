"""Saving and loading Keyframe Processors."""

from pathlib import Path

import torch

from coprop_plugin.checkpoints import is_folder_or_id
from coprop_plugin.checkpoints.native import SHIPPED, load_module, save_module
from coprop_plugin.keyframes.processor import KeyframeProcessor

FORMAT = "coprop_plugin.KeyframeProcessor/1"
WEIGHTS = SHIPPED / "keyframes.safetensors"
"""Trained on synthetic scenes; see `weights/README.md`."""


def save_keyframe_processor(
    processor: KeyframeProcessor, path: str | Path, dtype: torch.dtype | None = None
) -> Path:
    """Save weights and constructor arguments to a safetensors file.

    Args:
        processor: The processor, on any device.
        path: The file; its folder is created if missing.
        dtype: `torch.float16` halves the file size; None keeps the weights as they are.

    Returns:
        The path.

    Raises:
        CheckpointError: If the processor was built around an audio encoder that is a module
            rather than a name or a config, or the file cannot be written.
    """
    return save_module(processor, processor.config, path, FORMAT, dtype)


def load_keyframe_processor(path: str | Path | None = None) -> KeyframeProcessor:
    """Load a file that `save_keyframe_processor` wrote; every weight must fit.

    Args:
        path: The file; or a folder or "hf://owner/name", as for
            `KeyframeProcessor.from_pretrained`; None for the default weights, which were trained
            on the ten kinds of objects of the synthetic scenes only.

    Returns:
        The processor on the CPU, in eval mode and float32. Nothing is downloaded: the file holds
        the weights of its backbone and of its audio encoder.

    Raises:
        CheckpointError: If the file is missing, damaged, not a Keyframe Processor's, or does not
            fit the network that it describes.

    Example:
        >>> load_keyframe_processor().num_classes
        11
    """
    if path is not None and is_folder_or_id(path):
        return KeyframeProcessor.from_pretrained(path)
    return load_module(WEIGHTS if path is None else path, FORMAT, KeyframeProcessor)
