"""Frozen batch norm as part of the convolution before it, where no gradient is recorded."""

from weakref import WeakKeyDictionary, ref

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

Stamp = tuple[ref[torch.UntypedStorage], int, int]
"""Which memory a tensor uses, from where on, and how often it was written."""

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
    parts = (convolution.weight, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    stamps = tuple(_stamp(part) for part in parts)
    known, weight, bias = _FOLDED.get(norm, (None, None, None))
    if known != stamps:
        kernel, mean, variance, scale, shift = parts
        weight, bias = fuse_conv_bn_weights(kernel, None, mean, variance, norm.eps, scale, shift)
        if weight.device.type == "cpu":
            # The layout of the kernel is that of what comes out.
            weight = weight.detach().contiguous(memory_format=torch.channels_last)
        weight, bias = weight.detach(), bias.detach()
        _FOLDED[norm] = stamps, weight, bias
    return weight, bias


def _stamp(part: Tensor) -> Stamp:
    # A pointer alone will not do: memory that is freed is soon given to another tensor. Weak
    # references are equal while their storage lives, and only to those of the same storage.
    return ref(part.untyped_storage()), part.storage_offset(), part._version
