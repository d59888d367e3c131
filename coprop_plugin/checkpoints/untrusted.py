"""Safe loading of third-party checkpoints; no code in the file is executed."""

import contextlib
import os
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from coprop_plugin.errors import CheckpointError, some_names
from coprop_plugin.limits import WEIGHTS_BYTES

DAMAGE = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    ImportError,
    struct.error,
    zipfile.BadZipFile,
)
"""Raised by torch's restricted unpickler on files that are cut, damaged or not a pickle at all."""

_KEYS = ("state_dict", "model", "model_state_dict", "network", "net", "weights", "ema")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "ema.")

_LONGEST_HEADER = 100_000_000
"""Of safetensors, in bytes; its own library refuses longer ones."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read names and tensors from a file of `torch.save` or safetensors, by its content.

    Args:
        path: The file; the weights may be under "state_dict" or "model" in it, and have prefixes
            of wrappers, which are removed; see `weights_in`.

    Raises:
        CheckpointError: If the file is missing or damaged, or holds anything but tensors and plain
            containers.
    """
    path = existing(path)
    if not is_safetensors(path):
        return weights_in(read_pickle(path), str(path))
    WEIGHTS_BYTES.check(path.stat().st_size, path, CheckpointError)
    try:
        return weights_in(load_file(path), str(path))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors: {error}. It is damaged or cut short: fetch it "
            "again, and compare its size."
        ) from error


def weights_in(content: Any, origin: str) -> dict[str, Tensor]:
    """Return the weights in a checkpoint's content, without prefixes of wrappers.

    These are `module.` (`DataParallel`), and `_orig_mod.` (`torch.compile`), `model.`, `net.` and
    `ema.` where every name has them.

    Args:
        content: Names to tensors, or a mapping with such a mapping under "state_dict" or "model".
        origin: Its file, for messages.

    Raises:
        CheckpointError: If there are no weights, or some are NaN.

    Example:
        >>> weights_in({"state_dict": {"module.bias": torch.zeros(1)}}, "a test")
        {'bias': tensor([0.])}
    """
    for key in _KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = isinstance(content, Mapping) and all(map(torch.is_tensor, content.values()))
    if not tensors or not content:
        raise CheckpointError(
            "Expected a mapping of names to tensors, or one under 'state_dict' or 'model', in "
            f"{origin}, got a {type(content).__name__} that holds no weights."
        )
    # A tensor with strides of 0 may be far larger than its file.
    size = sum(tensor.numel() * tensor.element_size() for tensor in content.values())
    WEIGHTS_BYTES.check(size, origin, CheckpointError)
    refuse_nan(content, origin)
    return _without_prefixes({str(name): tensor for name, tensor in content.items()})


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    # `AveragedModel` counts beside its weights.
    state = {name: tensor for name, tensor in state.items() if name != "n_averaged"}
    while True:
        first = next(iter(state), "")
        prefix = next((p for p in _PREFIXES if first.startswith(p)), None)
        if prefix is None or not all(name.startswith(prefix) for name in state):
            return {name.removeprefix("module."): tensor for name, tensor in state.items()}
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def refuse_nan(state: Mapping[str, Tensor], origin: str | Path) -> None:
    """Refuse weights of which some are NaN.

    Raises:
        CheckpointError: If there are such; it names them.
    """
    broken = [str(n) for n, t in state.items() if t.is_floating_point() and t.isnan().any()]
    if broken:
        raise CheckpointError(
            f"The weights {some_names(broken)} in {origin} are NaN, from a training run that "
            "diverged or a damaged file. Use an earlier checkpoint."
        )


def existing(path: str | Path) -> Path:
    """Return the path of an existing file.

    Raises:
        CheckpointError: If there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}. Give the path of a file with weights.")
    return path


def is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors, not a zip archive or pickle, by its first bytes."""
    with path.open("rb") as file:
        start = file.read(9)
    # The header's length comes first; the first bytes of zip archives and pickles are far more.
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= _LONGEST_HEADER


def read_pickle(path: Path) -> Any:
    """Read a file of `torch.save` that holds tensors and plain containers alone.

    Raises:
        CheckpointError: If the file is damaged, is something else, or holds other objects. They
            are not made, and no code in the file is executed.
    """
    try:
        refuse_large(path)
        # Not the path: torch would read a file called .safetensors as one.
        with path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} cannot be read safely: {_first_line(error)} Only tensors and plain "
            "containers are read, because anything else could run code. If you trust the file, "
            "save its weights alone: `torch.save(model.state_dict(), path)`."
        ) from error
    except DAMAGE as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: {_first_line(error)} It is damaged, cut "
            "short, or something else. Fetch it again, and compare its size."
        ) from error


@contextlib.contextmanager
def only_tensors() -> Iterator[None]:
    """Prevent other libraries from unpickling checkpoints that torch refuses to load.

    Raises:
        CheckpointError: If one was refused.
    """
    variable = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(variable)
    os.environ[variable] = "1"
    try:
        yield
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            "A checkpoint holds more than tensors, numbers and containers, or is damaged; nothing "
            "in it was run. If you trust it, save only its weights: "
            "`torch.save(checkpoint['state_dict'], path)`."
        ) from error
    finally:
        os.environ.pop(variable)
        if before is not None:
            os.environ[variable] = before


def refuse_large(path: Path) -> None:
    """Refuse a file of weights that is over the limit, or a zip archive whose files are.

    Raises:
        CheckpointError: If it is.
    """
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = max(size, sum(file.file_size for file in archive.infolist()))
    WEIGHTS_BYTES.check(size, path, CheckpointError)


def _first_line(error: BaseException, limit: int = 200) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    # torch's first line may recommend to unpickle without restriction: take its reason only.
    for line in lines:
        if "WeightsUnpickler error" in line or "Unsupported" in line:
            text = line
    return text[:limit].rstrip(".") + "."
