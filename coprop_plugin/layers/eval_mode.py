"""Temporarily put a module in eval mode and restore its flags; and find its device."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class _Held:
    """A module in eval mode: how many `evaluating` blocks hold it, and the flag to restore."""

    module: nn.Module
    training: bool
    holders: int = 0


_lock = threading.Lock()
# By identity, because a module may define equality; the entry keeps the module alive.
_held: dict[int, _Held] = {}


@contextmanager
def evaluating(module: object) -> Iterator[None]:
    """Put a module in eval mode for the block, then restore every submodule's own flag.

    Unlike `module.eval()` and `module.train()`, which set one flag for all and may be overridden,
    this only sets the flags. Blocks may nest and overlap, in one thread or in several: a submodule
    gets its flag back when the last block that holds it ends. Objects that are not modules are
    left alone.

    Example:
        >>> from torch import nn
        >>> dropout = nn.Dropout()
        >>> with evaluating(dropout):
        ...     dropout.training
        False
        >>> dropout.training
        True
    """
    submodules = list(module.modules()) if isinstance(module, nn.Module) else []
    with _lock:
        for submodule in submodules:
            held = _held.setdefault(id(submodule), _Held(submodule, submodule.training))
            held.holders += 1
            submodule.training = False
    try:
        yield
    finally:
        with _lock:
            for submodule in submodules:
                held = _held[id(submodule)]
                held.holders -= 1
                if held.holders == 0:
                    submodule.training = held.training
                    del _held[id(submodule)]


def device_of(module: object) -> torch.device:
    """Return the device of a module's parameters; the CPU for any object without parameters."""
    parameters = module.parameters() if isinstance(module, nn.Module) else ()
    return next((parameter.device for parameter in parameters), torch.device("cpu"))
