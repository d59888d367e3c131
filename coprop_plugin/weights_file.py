"""Our own weights in files: safetensors that say which network they belong to."""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from coprop_plugin.errors import CheckpointError
from coprop_plugin.limits import WEIGHTS_BYTES

SHIPPED = Path(__file__).resolve().parent / "weights"
"""The folder of the weights that come with the library."""


def save_module(
    module: nn.Module,
    config: Mapping[str, Any],
    path: str | Path,
    format: str,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write weights and constructor arguments to a safetensors file.

    The file appears under its name when it is whole.

    Args:
        module: What to save, on any device.
        config: The arguments that build it again: names, numbers, and containers of them.
        path: The file; its folder is made if need be.
        format: What `load_module` must find, "coprop_plugin.KeyframeProcessor/1" say.
        dtype: Of floating-point weights in the file; None is as they are.

    Returns:
        The path.

    Raises:
        CheckpointError: If `config` holds modules or the like, or the file cannot be written.
    """
    path = Path(path)
    try:
        config = json.dumps(config)
    except TypeError as error:
        raise CheckpointError(
            f"This {type(module).__name__} cannot be saved with its constructor arguments "
            f"({error}). Build it from names and configs, `audio_encoder='SmallLogMelEncoder'` "
            "say, not from modules."
        ) from error
    state = {name: _ready(x, dtype) for name, x in module.state_dict().items()}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, partial, metadata={"format": format, "config": config})
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be written: {error}. Choose a folder that you may write to, on a disk "
            "with room."
        ) from error
    finally:
        if partial.exists():
            partial.unlink()
    return path


def load_module(path: str | Path, format: str, build: Callable[..., nn.Module]) -> nn.Module:
    """Load what `save_module` wrote, strictly both ways.

    A network is built only after its plan, without memory, was found to be that of the weights: a
    few bytes cannot ask for a network that fills the machine.

    Args:
        path: The file.
        format: What it was saved with.
        build: Called with the saved constructor arguments, on the meta device and then in earnest;
            returns the module to fill.

    Returns:
        The module on the CPU, in eval mode, in float32; in float64 if it was saved so.

    Raises:
        CheckpointError: If the file is missing, damaged, of another format, or does not fit the
            network that it describes.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}. Give the path of a file with weights.")
    WEIGHTS_BYTES.check(path.stat().st_size, path, CheckpointError)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors: {error}. Wanted weights of format {format!r}; "
            "the file may be cut short: fetch or save it again."
        ) from error
    if metadata.get("format") != format:
        raise CheckpointError(
            f"{path} is safetensors of format {metadata.get('format')!r}; wanted {format!r}. "
            "Weights of something else cannot be used here."
        )
    config = metadata.get("config", "")
    with torch.device("meta"), _at_most(len(state), path):
        plan = _built(path, config, build)
    _check_fit(path, state, plan.state_dict())
    module = _built(path, config, build)
    if any(value.dtype == torch.float64 for value in state.values()):
        module.double()
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights in {path} cannot be used as they are: {error}. Save them again, as "
            "floating-point numbers."
        ) from error
    return module.eval()


def format_of(path: str | Path) -> str | None:
    """Return the format that a safetensors file says it is; None for one that is not ours.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors: {error}. It may be cut short: fetch or save "
            "it again."
        ) from error


def _ready(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.to(dtype) if dtype is not None and value.is_floating_point() else value


def _built(path: Path, config: str, build: Callable[..., nn.Module]) -> nn.Module:
    try:
        return build(**json.loads(config))
    except CheckpointError:
        raise
    except Exception as error:  # What a file says may be wrong in any way.
        raise CheckpointError(
            f"{path} describes a network that cannot be built: {error}. Was it written by a newer "
            "version, or does it need an encoder that is not imported yet?"
        ) from error


@contextmanager
def _at_most(num_tensors: int, path: Path) -> Iterator[None]:
    """Stop the building of a network that has more parameters than a file has tensors."""
    builder, count = threading.get_ident(), 0

    def counted(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal count
        count += parameter is not None and threading.get_ident() == builder
        # Some are replaced while they are built; a network of any size is still found out.
        if count > 2 * num_tensors + 1000:
            raise CheckpointError(
                f"{path} describes a network of more than {count} parameters, but holds "
                f"{num_tensors}. The file was changed after it was saved; save it again."
            )

    hook = register_module_parameter_registration_hook(counted)
    try:
        yield
    finally:
        hook.remove()


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
