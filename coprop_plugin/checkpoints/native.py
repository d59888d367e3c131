"""Our own weights: safetensors files that say which network they belong to."""

import json
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from coprop_plugin.checkpoints.untrusted import existing, refuse_nan
from coprop_plugin.errors import CheckpointError
from coprop_plugin.limits import WEIGHTS_BYTES

Module = TypeVar("Module", bound=nn.Module)

SHIPPED = Path(__file__).resolve().parent.parent / "weights"
"""The folder of the weights that are part of the library."""


def save_module(
    module: nn.Module,
    config: Mapping[str, Any],
    path: str | Path,
    format: str,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write weights and constructor arguments to a safetensors file.

    The file gets its name when it is complete.

    Args:
        module: The module, on any device.
        config: The constructor arguments: names, numbers, and containers of them.
        path: The file; its folder is made if need be.
        format: The format that `load_module` expects, e.g. "coprop_plugin.KeyframeProcessor/1".
        dtype: Of floating-point weights in the file; None keeps theirs.

    Returns:
        The path.

    Raises:
        CheckpointError: If `config` holds modules or the like, or the file cannot be written.
    """
    path = Path(path)
    try:
        arguments = json.dumps(config)
    except TypeError as error:
        raise CheckpointError(
            f"This {type(module).__name__} cannot be saved with its constructor arguments "
            f"({error}). Build it from names and configs, e.g. "
            "`audio_encoder='SmallLogMelEncoder'`, not from modules."
        ) from error
    state = {name: _ready(x, dtype) for name, x in module.state_dict().items()}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, partial, metadata={"format": format, "config": arguments})
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


def load_module(path: str | Path, format: str, build: Callable[..., Module]) -> Module:
    """Load a file of `save_module`, strictly both ways.

    A network that is larger than the weights in the file is not built: a few bytes cannot ask for
    one that fills the memory.

    Args:
        path: The file.
        format: The format that it was saved with.
        build: Called with the saved constructor arguments; returns the module to fill.

    Returns:
        The module on the CPU, in eval mode, in float32; in float64 if it was saved in that.

    Raises:
        CheckpointError: If the file is missing, damaged, of another format, or does not fit the
            network that it describes.
    """
    path = existing(path)
    WEIGHTS_BYTES.check(path.stat().st_size, path, CheckpointError)
    with _opened(path) as file:
        metadata = file.metadata() or {}
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    check_format(metadata.get("format"), format, f"safetensors of format {format!r} in {path}")
    with no_larger_than(state, path):
        module = _built(path, metadata.get("config", ""), build)
    _check_fit(path, state, module.state_dict())
    refuse_nan(state, path)
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


def check_format(found: Any, wanted: str, expected: str) -> None:
    """Refuse a format that is not the wanted one.

    Args:
        found: The format in a file, which may be anything.
        wanted: The format that this version reads: a name, a slash, and a number.
        expected: What was expected and where, for the message.

    Raises:
        CheckpointError: If they differ; for a higher number it says what to install.

    Example:
        >>> check_format("coprop_plugin.Net/2", "coprop_plugin.Net/1", "a network in a test")
        Traceback (most recent call last):
            ...
        coprop_plugin.errors.CheckpointError: Expected a network in a test, got \
'coprop_plugin.Net/2', which a newer version of this library wrote. Run \
`pip install -U coprop-plugin`.
    """
    if found == wanted:
        return
    name, _, number = wanted.rpartition("/")
    its_name, _, its_number = found.rpartition("/") if isinstance(found, str) else ("", "", "")
    if its_name == name and its_number.isdecimal() and int(its_number) > int(number):
        raise CheckpointError(
            f"Expected {expected}, got {found!r}, which a newer version of this library wrote. Run "
            "`pip install -U coprop-plugin`."
        )
    raise CheckpointError(
        f"Expected {expected}, got {found!r}. Load it with the class that it was saved from."
    )


def format_of(path: str | Path) -> str | None:
    """Return the format in a safetensors file's metadata; None for a file that is not ours.

    Raises:
        CheckpointError: If it cannot be read.
    """
    with _opened(path) as file:
        return (file.metadata() or {}).get("format")


def config_of(path: str | Path) -> dict[str, Any]:
    """Return the constructor arguments in a file of `save_module`.

    Raises:
        CheckpointError: If it cannot be read.
    """
    with _opened(path) as file:
        return json.loads((file.metadata() or {})["config"])


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors: {error}. It may be cut short: fetch or save "
            "it again."
        ) from error


def _ready(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.to(dtype) if dtype is not None and value.is_floating_point() else value


def _built(path: Path, config: str, build: Callable[..., Module]) -> Module:
    try:
        return build(**json.loads(config))
    except CheckpointError:
        raise
    except Exception as error:  # The arguments in a file may be wrong in any way.
        raise CheckpointError(
            f"{path} describes a network that cannot be built: {error}. It may be from a newer "
            "version, or need an encoder whose module must be imported first."
        ) from error


# Functions that make tensors in constructors; the first argument or all of them are the size.
_MAKERS = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full, torch.arange}
# Allowance of a constructor beside its parameters: tables, filters, weights that are replaced.
_SPARE_TENSORS, _SPARE_NUMBERS = 1000, 2**24


class _Sized(TorchFunctionMode):
    """Raises an error when a tensor with more than `most` numbers is made."""

    def __init__(self, most: int, error: CheckpointError) -> None:
        super().__init__()
        self.most, self.error = most, error

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if function in _MAKERS:
            size = args[0] if args and isinstance(args[0], Sequence) else args
            if math.prod(n for n in size if isinstance(n, int)) > self.most:
                raise self.error
        return function(*args, **(kwargs or {}))


@contextmanager
def no_larger_than(state: Mapping[str, Tensor], origin: str | Path) -> Iterator[None]:
    """Stop building a network with more or larger parameters than the weights have.

    Args:
        state: The weights.
        origin: Their file, for messages.

    Raises:
        CheckpointError: If the network becomes too large.

    Example:
        >>> with no_larger_than({"weight": torch.zeros(2, 2)}, "a test"):
        ...     nn.Linear(10**9, 10**9)
        Traceback (most recent call last):
            ...
        coprop_plugin.errors.CheckpointError: a test describes a network that is far larger than \
the 1 tensors it holds. The file was changed after it was saved; save it again.
    """
    error = CheckpointError(
        f"{origin} describes a network that is far larger than the {len(state)} tensors it holds. "
        "The file was changed after it was saved; save it again."
    )
    builder, count = threading.get_ident(), 0

    def counted(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal count
        count += parameter is not None and threading.get_ident() == builder
        if count > 2 * len(state) + _SPARE_TENSORS:
            raise error

    largest = max((tensor.numel() for tensor in state.values()), default=0)
    hook = register_module_parameter_registration_hook(counted)
    try:
        with _Sized(largest + _SPARE_NUMBERS, error):
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
