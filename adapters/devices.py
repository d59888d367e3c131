"""Exclusive use of a user's model on its own device, restoring its state afterwards."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from coprop_plugin.layers import device_of, evaluating

_guard = threading.Lock()
_thread = threading.local()
_users = 0
_patch = ExitStack()
_model_locks: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()


@contextmanager
def cuda_calls_stay(device: torch.device | str) -> Iterator[None]:
    """Make `.cuda()` mean `.to(device)` in this thread, for tensors and modules.

    Released AVS code calls `.cuda()` inside `forward`, which fails on a machine without CUDA and
    goes to the wrong one of several. Other threads keep the original. Nested use is fine; the
    innermost device counts. With the last user gone, torch is as it was.

    Args:
        device: The device of the model.

    Example:
        >>> with cuda_calls_stay("cpu"):
        ...     torch.zeros(1).cuda().device
        device(type='cpu')
    """
    devices = _devices_of_thread()
    _start_patching()
    devices.append(torch.device(device))
    try:
        yield
    finally:
        devices.pop()
        _stop_patching()


@contextmanager
def borrow_model(model: nn.Module) -> Iterator[torch.device]:
    """Exclusive, no-grad, eval-mode use of a user's model on its own device, which is yielded.

    Other threads wait for the same model, and `.cuda()` inside stays on that device. Afterwards
    the training flag of every submodule is restored.

    Example:
        >>> with borrow_model(nn.Linear(2, 2)) as device:
        ...     device
        device(type='cpu')
    """
    device = device_of(model)
    with _guard:
        lock = _model_locks.setdefault(model, threading.RLock())
    with lock, evaluating(model), torch.no_grad(), cuda_calls_stay(device):
        yield device


@contextmanager
def attributes(owner: Any, **values: Any) -> Iterator[None]:
    """Temporarily set attributes of an object, then restore exactly what was there.

    Example:
        >>> class Model:
        ...     groups = 5
        >>> model = Model()
        >>> with attributes(model, groups=1):
        ...     model.groups
        1
        >>> model.groups, vars(model)
        (5, {})
    """
    own = {name: vars(owner)[name] for name in values if name in vars(owner)}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name in values:
            if name in own:
                setattr(owner, name, own[name])
            else:
                delattr(owner, name)


def dtype_of(model: nn.Module) -> torch.dtype:
    """Return the dtype of a model's first parameter; float32 for a model without any."""
    return next((p.dtype for p in model.parameters()), torch.float32)


def _devices_of_thread() -> list[torch.device]:
    if not hasattr(_thread, "devices"):
        _thread.devices = []
    return _thread.devices


def _start_patching() -> None:
    global _users
    with _guard:
        _users += 1
        if _users == 1:
            tensor_cuda, module_cuda = torch.Tensor.cuda, nn.Module.cuda
            _patch.enter_context(attributes(torch.Tensor, cuda=_staying(tensor_cuda)))
            _patch.enter_context(attributes(nn.Module, cuda=_staying(module_cuda)))


def _stop_patching() -> None:
    global _users
    with _guard:
        _users -= 1
        if _users == 0:
            _patch.close()


def _staying(cuda: Callable) -> Callable:
    def to_device_of_thread(self: Any, *args: Any, **kwargs: Any) -> Any:
        devices = _devices_of_thread()
        return self.to(devices[-1]) if devices else cuda(self, *args, **kwargs)

    return to_device_of_thread
