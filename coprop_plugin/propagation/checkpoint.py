"""Loading and saving propagators: our own files, and AOT's checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from coprop_plugin.checkpoints import is_folder_or_id
from coprop_plugin.checkpoints.native import format_of, load_module, save_module
from coprop_plugin.checkpoints.untrusted import existing, is_safetensors, read_pickle, read_weights
from coprop_plugin.propagation.aot_names import is_aot, load_aot_state
from coprop_plugin.propagation.propagator import AudioInsertPropagator

FORMAT = "coprop_plugin.AudioInsertPropagator/1"


def load(path: str | Path) -> AudioInsertPropagator:
    """Load a propagator from a file of either kind, detected by its content, not by its name.

    Args:
        path: Safetensors that `save_propagator` wrote, or a checkpoint of AOT; or a folder or
            "hf://owner/name", as for `AudioInsertPropagator.from_pretrained`.

    Returns:
        The propagator on the CPU, in eval mode.

    Raises:
        CheckpointError: If the file is missing, or neither.
    """
    if is_folder_or_id(path):
        return AudioInsertPropagator.from_pretrained(path)
    path = existing(path)
    if is_safetensors(path) and (format_of(path) or not is_aot(read_weights(path))):
        return load_propagator(path)
    return load_aot_checkpoint(path)


def load_aot_checkpoint(
    source: str | Path | Mapping[str, Any], **options: Any
) -> AudioInsertPropagator:
    """Load a released AOT checkpoint; the audio blocks start without effect.

    The network's shape is read from the weights: ResNet or MobileNetV2, number of layers, width,
    heads. MobileNetV2 weights of three layers may be AOTB or AOTL, which the weights do not tell,
    and are taken for AOTL (`long_term_gap=5`).

    Args:
        source: A file as released, saved by AOT's trainer, or with averaged weights, of torch or
            safetensors; or its content: `{"state_dict": ...}`, `{"model": ...}` or the weights.
            Nothing but tensors and plain containers is ever unpickled.
        **options: Arguments of `AudioInsertPropagator` that the weights do not determine:
            `insert_layers`, `audio_encoder`, `long_term_gap`, `max_size` ...

    Returns:
        The propagator on the CPU, in eval mode.

    Raises:
        CheckpointError: If the file is missing, damaged, holds other than tensors and plain
            containers, or weights that are not AOT's; missing and unknown names are listed.

    Example:
        >>> propagator = load_aot_checkpoint("R50_AOTL_PRE_YTB_DAV.pth")  # doctest: +SKIP
    """
    origin = "the given weights"
    if not isinstance(source, Mapping):
        origin = str(source)
        path = existing(source)
        source = read_weights(path) if is_safetensors(path) else read_pickle(path)
    return load_aot_state(source, origin, options)


def save_propagator(
    propagator: AudioInsertPropagator, path: str | Path, dtype: torch.dtype | None = None
) -> Path:
    """Save weights and constructor arguments to a safetensors file.

    Args:
        propagator: The propagator, on any device.
        path: The file; its folder is created if missing.
        dtype: `torch.float16` halves the file size; None keeps the weights as they are.

    Returns:
        The path.

    Raises:
        CheckpointError: If the propagator was built around an audio encoder that is a module
            rather than a name or a config, or the file cannot be written.
    """
    return save_module(propagator, propagator.config, path, FORMAT, dtype)


def load_propagator(path: str | Path) -> AudioInsertPropagator:
    """Load a file that `save_propagator` wrote; every weight must fit.

    Args:
        path: The file.

    Returns:
        The propagator on the CPU, in eval mode and float32.

    Raises:
        CheckpointError: If the file is missing, damaged, not ours, or does not fit the network
            that it describes.
    """
    return load_module(path, FORMAT, AudioInsertPropagator)
