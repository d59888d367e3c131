"""What a part may not change: the weights and training flags of its modules."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from coprop_plugin.layers import held_modules


class PartState:
    """Weights, buffers, gradients and training flags of a part, to compare later.

    Args:
        part: A backend, provider or propagator.
    """

    def __init__(self, part: object) -> None:
        self._modules = [m for network in held_modules(part) for m in network.modules()]
        self._flags = [module.training for module in self._modules]
        self._digest = self._numbers()

    @property
    def has_weights(self) -> bool:
        """Whether the part has parameters."""
        return any(True for module in self._modules for _ in module.parameters(recurse=False))

    def changes(self) -> list[str]:
        """Return what is no longer as it was: "weights", "training flags", "gradients"."""
        found = {
            "weights or buffers": self._numbers() != self._digest,
            "training flags": [module.training for module in self._modules] != self._flags,
            "gradients": any(p.grad is not None for m in self._modules for p in m.parameters()),
        }
        return [name for name, changed in found.items() if changed]

    def _numbers(self) -> str:
        digest = hashlib.sha256()
        for module in self._modules:
            tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
            for tensor in tensors:
                digest.update(_bytes(tensor))
        return digest.hexdigest()


@contextmanager
def training_mode(part: object) -> Iterator[None]:
    """Put a part's networks into training mode, each second module of them; then restore them.

    As a trainer leaves them that has frozen some layers.
    """
    modules = [m for network in held_modules(part) for m in network.modules()]
    flags = [module.training for module in modules]
    for number, module in enumerate(modules):
        module.training = number % 2 == 0 or isinstance(module, nn.Dropout)
    try:
        yield
    finally:
        for module, flag in zip(modules, flags, strict=True):
            module.training = flag


def digest_of(*tensors: Tensor | None) -> str:
    """Return a hash of tensors' numbers, to see whether they were changed in place."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(b"none" if tensor is None else _bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> Any:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy() if flat.numel() else b""
