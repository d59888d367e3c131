"""Reading pickles of strangers: tensors and plain containers, nothing that runs."""

import pickle
import struct
from pathlib import Path
from typing import Any

import torch

from coprop_plugin.errors import CheckpointError

# What torch's restricted unpickler raises on files that are cut, damaged or no pickle at all.
_DAMAGE = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)


def read_pickle(path: Path) -> Any:
    """Read what `torch.save` wrote, as far as it is tensors and plain containers.

    Raises:
        CheckpointError: If the file is damaged, is something else, or holds other objects. They
            are not made, and nothing in the file is run.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is no checkpoint that can be read safely: {_first_line(error)} Only tensors "
            "and plain containers are read, as anything else could run code. If you trust the "
            "file, save its weights alone: `torch.save(model.state_dict(), path)`."
        ) from error
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: {_first_line(error)} It is damaged, cut "
            "short, or something else. Fetch it again, and compare its size."
        ) from error


def _first_line(error: BaseException, limit: int = 200) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    # torch's first line may recommend to unpickle freely: say its reason only.
    for line in lines:
        if "WeightsUnpickler error" in line or "Unsupported" in line:
            text = line
    return text[:limit].rstrip(".") + "."
