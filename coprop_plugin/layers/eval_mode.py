"""Temporarily put a module in eval mode and restore its flags; and find its device."""

import functools
import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

_MOST_PARTS = 1000


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
    gets its flag back when the last block that holds it ends. Of functions and other objects the
    modules that they hold are put in eval mode, see `held_modules`.

    Example:
        >>> from torch import nn
        >>> dropout = nn.Dropout()
        >>> with evaluating(dropout):
        ...     dropout.training
        False
        >>> dropout.training
        True
    """
    submodules = list(
        {id(part): part for held in held_modules(module) for part in held.modules()}.values()
    )
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


def held_modules(thing: object, depth: int = 3) -> list[nn.Module]:
    """Return the modules that an object will run as far as can be seen, itself if it is one.

    These are: of a function those that its closure, its defaults and its global names hold, of a
    method also its object's, of `functools.partial` its function's and arguments', of any other
    object its attributes'; in lists, tuples and dicts of up to 1,000 items, too.

    Args:
        thing: The object.
        depth: How many steps to look.

    Example:
        >>> network = nn.Dropout()
        >>> held_modules(lambda frames, audio: network(frames))
        [Dropout(p=0.5, inplace=False)]
    """
    if isinstance(thing, nn.Module):
        return [thing]
    if depth == 0:
        return []
    return [module for part in _parts(thing) for module in held_modules(part, depth - 1)]


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if inspect.ismethod(thing):
        return [thing.__self__, thing.__func__]
    if inspect.isfunction(thing):
        function = inspect.unwrap(thing)
        cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        named = [function.__globals__.get(name) for name in function.__code__.co_names]
        return [*cells, *(function.__defaults__ or ()), *named]
    if isinstance(thing, dict | list | tuple):
        # Longer ones hold data, and this is asked before each batch.
        parts = thing.values() if isinstance(thing, dict) else thing
        return list(parts) if len(thing) <= _MOST_PARTS else []
    # Classes and modules of Python hold what others use, too.
    if isinstance(thing, type) or inspect.ismodule(thing):
        return []
    return list(getattr(thing, "__dict__", {}).values())


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False  # Of a name that is not assigned yet.


def device_of(module: object) -> torch.device:
    """Return the device of a module's parameters; the CPU for any object without parameters."""
    parameters = module.parameters() if isinstance(module, nn.Module) else ()
    return next((parameter.device for parameter in parameters), torch.device("cpu"))
