"""Weights in files: our own, and AOT's."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from coprop_plugin.errors import CheckpointError, CopropError
from coprop_plugin.propagation.aot_names import load_aot_state
from coprop_plugin.propagation.propagator import AudioInsertPropagator
from coprop_plugin.propagation.unpickle import read_pickle

FORMAT = "coprop_plugin.AudioInsertPropagator/1"


def load(path: str | Path) -> AudioInsertPropagator:
    """Load a propagator from a file of either kind, told by its content, not by its name.

    Args:
        path: Safetensors that `save_propagator` wrote, or a checkpoint of AOT.

    Returns:
        The propagator on the CPU, in eval mode.

    Raises:
        CheckpointError: If the file is missing, or neither.
    """
    path = _existing(path)
    if _is_safetensors(path):
        return load_propagator(path)
    return load_aot_checkpoint(path)


def load_aot_checkpoint(
    source: str | Path | Mapping[str, Any], **options: Any
) -> AudioInsertPropagator:
    """Load a released AOT checkpoint; what listens to the sound starts as if it were not there.

    The network's shape is read from the weights: ResNet or MobileNetV2, number of layers, width,
    heads. Two things are not in them: MobileNetV2 weights of three layers may be AOTB or AOTL
    and are taken for AOTL (`long_term_gap=5`).

    Args:
        source: A `.pth` file, as it is released, saved by AOT's trainer, or with averaged
            weights; or what is in it: `{"state_dict": ...}`, `{"model": ...}` or the weights.
            Nothing but tensors and plain containers is ever unpickled.
        **options: Of `AudioInsertPropagator`, those that the weights leave open:
            `insert_layers`, `audio_encoder`, `long_term_gap`, `max_size` ...

    Returns:
        The propagator on the CPU, in eval mode.

    Raises:
        CheckpointError: If the file is missing, damaged, holds anything but tensors and plain
            containers, or weights that are not AOT's; missing and unknown names are listed.

    Example:
        >>> propagator = load_aot_checkpoint("R50_AOTL_PRE_YTB_DAV.pth")  # doctest: +SKIP
    """
    origin = "the given weights"
    if not isinstance(source, Mapping):
        origin = str(source)
        source = read_pickle(_existing(source))
    return load_aot_state(source, origin, options)


def save_propagator(propagator: AudioInsertPropagator, path: str | Path) -> Path:
    """Write weights and constructor arguments to a safetensors file.

    The file appears under its name when it is whole.

    Args:
        propagator: What to save, on any device.
        path: The file; its folder is made if need be.

    Returns:
        The path.

    Raises:
        CheckpointError: If the propagator was built around an audio encoder that is a module
            rather than a name or a config, so that nothing could build it again.
    """
    path = Path(path)
    try:
        config = json.dumps(propagator.config)
    except TypeError as error:
        raise CheckpointError(
            f"This propagator cannot be saved with its constructor arguments ({error}). Build it "
            "from names and configs, `audio_encoder='SmallLogMelEncoder'` say, not from modules."
        ) from error
    state = {name: x.detach().cpu().contiguous() for name, x in propagator.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file(state, partial, metadata={"format": FORMAT, "config": config})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def load_propagator(path: str | Path) -> AudioInsertPropagator:
    """Load what `save_propagator` wrote, strictly both ways.

    Args:
        path: The file.

    Returns:
        The propagator on the CPU, in eval mode, in the dtype it was saved in.

    Raises:
        CheckpointError: If the file is missing, damaged, not ours, or does not fit the network
            that it describes.
    """
    path = _existing(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors: {error}. Wanted a file of `save_propagator`; "
            "load AOT's own checkpoints with `load_aot_checkpoint`."
        ) from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is safetensors with format {metadata.get('format')!r}; wanted {FORMAT!r}, "
            "which `save_propagator` writes. Weights of something else cannot be used here."
        )
    propagator = _built(path, metadata.get("config", ""))
    _check_fit(path, state, propagator.state_dict())
    dtypes = {x.dtype for x in state.values() if x.is_floating_point()}
    if len(dtypes) == 1:
        propagator.to(dtypes.pop())
    propagator.load_state_dict(state)
    return propagator.eval()


def _built(path: Path, config: str) -> AudioInsertPropagator:
    try:
        return AudioInsertPropagator(**json.loads(config))
    except (CopropError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} describes a propagator that cannot be built: {error}. Was it written by a "
            "newer version, or does it need an audio encoder that is not imported yet?"
        ) from error


def _check_fit(path: Path, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    faults = {
        "missing": sorted(wanted.keys() - state.keys()),
        "unknown": sorted(state.keys() - wanted.keys()),
        "misshapen": sorted(
            name for name in wanted.keys() & state.keys() if wanted[name].shape != state[name].shape
        ),
    }
    found = [f"{fault}: {', '.join(names[:10])}" for fault, names in faults.items() if names]
    if found:
        raise CheckpointError(
            f"The weights in {path} do not fit the network that it describes. "
            f"{'; '.join(found)}. The file was changed after it was saved; save it again."
        )


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}. Give the path of a file with weights.")
    return path


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and not start.startswith((b"PK", b"\x80"))
