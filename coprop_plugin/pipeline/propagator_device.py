"""The device that a propagator runs on."""

import logging

import torch
from torch import nn

from coprop_plugin.layers import checked_device, device_of
from coprop_plugin.types import KeyframeBackend

_log = logging.getLogger(__name__)


def propagator_device(backend: KeyframeBackend, device: torch.device | str | None) -> torch.device:
    """Return where the propagator runs: as asked, beside the model, or on the accelerator."""
    modules = [backend, *vars(backend).values()] if hasattr(backend, "__dict__") else []
    parts = [part for part in modules if isinstance(part, nn.Module)]
    placed = next((part for part in parts if next(part.parameters(), None) is not None), None)
    if device is not None:
        chosen, why = checked_device(device), "as asked"
    elif placed is not None:
        chosen, why = device_of(placed), "beside the wrapped model"
    else:
        chosen, why = _default_device(), "the default device: the model has no parameters"
    _log.info("The propagator runs on %s (%s).", chosen, why)
    return chosen


def _default_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
