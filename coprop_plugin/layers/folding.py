"""Frozen batch norm as part of the convolution before it, where no gradient is recorded."""

from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

Stamp = tuple[ref[torch.UntypedStorage], int, int]
"""Which memory a tensor uses, from where on, and how often it was written."""

_TENSORS = ("running_mean", "running_var", "weight", "bias")
# Kept beside the modules, not in them: a network's attributes and its files stay what they were.
_FOLDED: WeakKeyDictionary[nn.Module, tuple[tuple[Stamp, ...], Tensor, Tensor]] = (
    WeakKeyDictionary()
)


def convolve(x: Tensor, convolution: nn.Conv2d, norm: nn.Module) -> Tensor:
    """Map [B, C, H, W] by a convolution without bias, and normalise by constants.

    Two steps where gradients are recorded or inside `torch.compile`, else one, with weights that
    are folded once. They are folded again whenever convolution or norm have changed: trained,
    loaded, moved or cast.
    """
    if (
        torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or convolution.weight.is_inference()
    ):
        return norm(convolution(x))
    weight, bias = _folded(convolution, norm)
    return F.conv2d(
        x,
        weight,
        bias,
        convolution.stride,
        convolution.padding,
        convolution.dilation,
        convolution.groups,
    )


def _folded(convolution: nn.Conv2d, norm: nn.Module) -> tuple[Tensor, Tensor]:
    tensors: list[Tensor] = [getattr(norm, name) for name in _TENSORS]
    stamps = tuple(_stamp(part) for part in (convolution.weight, *tensors))
    known = _FOLDED.get(norm)
    if known is not None and known[0] == stamps:
        return known[1:]
    eps: Any = norm.eps
    mean, variance, scale, shift = tensors
    kernel, bias = fuse_conv_bn_weights(convolution.weight, None, mean, variance, eps, scale, shift)
    weight = kernel.detach()
    if weight.device.type == "cpu":
        # The memory layout of the kernel becomes that of the output.
        weight = weight.contiguous(memory_format=torch.channels_last)
    _FOLDED[norm] = stamps, weight, bias.detach()
    return weight, bias.detach()


def _stamp(part: Tensor) -> Stamp:
    # A pointer alone will not do: memory that is freed is soon given to another tensor. Weak
    # references are equal while their storage lives, and only to those of the same storage.
    return ref(part.untyped_storage()), int(part.storage_offset()), part._version
