"""Running somebody else's module without leaving a trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Put a module in eval mode, and give every submodule its own flag back after.

    Unlike `module.eval()` and `module.train()`, which set one flag for all and may be overridden,
    this only sets the flags. What is no module is left alone.

    Example:
        >>> from torch import nn
        >>> dropout = nn.Dropout()
        >>> with evaluating(dropout):
        ...     dropout.training
        False
        >>> dropout.training
        True
    """
    flags = [(m, m.training) for m in module.modules()] if isinstance(module, nn.Module) else []
    for submodule, _ in flags:
        submodule.training = False
    try:
        yield
    finally:
        for submodule, training in flags:
            submodule.training = training


def device_of(thing: Any) -> torch.device:
    """Return where a module's parameters are; the CPU for what has none."""
    parameters = thing.parameters() if isinstance(thing, nn.Module) else ()
    return next((parameter.device for parameter in parameters), torch.device("cpu"))
