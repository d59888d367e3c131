"""Tensors on their way between processor and accelerator, without waiting for it."""

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor to a device; a copy from the CPU to CUDA does not wait for the GPU."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class CPUCopy:
    """A copy on the CPU of tensors, made while the accelerator goes on.

    Args:
        tensors: On any device; those on the CPU are taken as they are.

    Example:
        >>> CPUCopy(torch.ones(2)).tensors()
        [tensor([1., 1.])]
    """

    def __init__(self, *tensors: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._copies = [self._begun(tensor) for tensor in tensors]
        if any(tensor.is_cuda for tensor in tensors):
            self._event = torch.cuda.Event()
            self._event.record()

    @staticmethod
    def _begun(tensor: Tensor) -> Tensor:
        if not tensor.is_cuda:
            return tensor if tensor.device.type == "cpu" else tensor.cpu()
        copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return copy.copy_(tensor, non_blocking=True)

    def tensors(self) -> list[Tensor]:
        """Return the copies, as soon as they are complete."""
        if self._event is not None:
            self._event.synchronize()
        return self._copies
