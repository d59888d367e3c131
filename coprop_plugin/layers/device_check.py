"""Devices that a caller names, checked before anything is moved there."""

import torch
from torch import nn

from coprop_plugin.errors import DeviceError


def checked_device(device: torch.device | str) -> torch.device:
    """Return a device that this machine has.

    Raises:
        DeviceError: If it has none of that name, or the device holds no numbers.

    Example:
        >>> checked_device("cpu")
        device(type='cpu')
    """
    try:
        checked = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(
            f"Expected a device, e.g. 'cpu' or 'cuda:0', got {device!r}. {_here()}"
        ) from error
    if checked.type == "meta":
        raise DeviceError(
            "The device 'meta' holds shapes and no numbers, so nothing can run there. Load the "
            "weights, or call `model.to_empty(device='cpu')` and load them then."
        )
    if checked.type != "cpu" and not _is_here(checked):
        raise DeviceError(f"The device {str(device)!r} is not on this machine. {_here()}")
    return checked


def check_parts(*parts: object) -> None:
    """Check that no module has weights on the device `meta`.

    Raises:
        DeviceError: If one has.
    """
    for part in parts:
        if isinstance(part, nn.Module) and any(p.is_meta for p in part.parameters()):
            checked_device("meta")


def _is_here(device: torch.device) -> bool:
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, ImportError):
        return False
    return True


def _here() -> str:
    gpus = torch.cuda.device_count()
    found = ["cpu", *(f"cuda:{n}" for n in range(gpus))]
    found += ["mps"] * torch.backends.mps.is_available()
    why = "" if gpus or torch.version.cuda else " (this build of torch has no CUDA)"
    return f"Available: {', '.join(found)}{why}. Choose one of them, or leave the device out."
