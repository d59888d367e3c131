"""Image encoders: maps of a frame at strides 4, 8, 16 and 16.

AOT's have frozen batch norms, and parameters with torchvision's names, so that files of weights
trained on ImageNet or by AOT fit unchanged. They cannot be trained from scratch; `SmallResNet` can.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn, ones, zeros

from coprop_plugin.errors import UnknownNameError
from coprop_plugin.layers.folding import convolve
from coprop_plugin.layers.residual import ResidualBlock


class Encoder(nn.Module):
    """An image encoder: normalised frames [B, 3, H, W] to four maps at strides 4, 8, 16 and 16.

    Attributes:
        widths: Channels of the four maps.
    """

    widths: tuple[int, ...]


class FrozenBatchNorm(nn.Module):
    """Batch norm whose statistics, scale and shift are constants of the network (buffers)."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", ones(channels))
        self.register_buffer("bias", zeros(channels))
        self.register_buffer("running_mean", zeros(channels))
        self.register_buffer("running_var", ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [B, C, H, W] with the stored statistics."""
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 convolution around a shortcut (He et al., 1512.03385v1)."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        wide = width * self.expansion
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = FrozenBatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = FrozenBatchNorm(width)
        self.conv3 = nn.Conv2d(width, wide, 1, bias=False)
        self.bn3 = FrozenBatchNorm(wide)
        self.downsample = None
        if stride != 1 or channels != wide:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, wide, 1, stride, bias=False), FrozenBatchNorm(wide)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, 4 width, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else convolve(x, *self.downsample)
        x = F.relu(convolve(x, self.conv1, self.bn1), inplace=True)
        x = F.relu(convolve(x, self.conv2, self.bn2), inplace=True)
        return F.relu(convolve(x, self.conv3, self.bn3).add_(shortcut), inplace=True)


class ResNet(Encoder):
    """ResNet up to stride 16: the stem and three stages; the last map is returned twice, as in AOT.

    Args:
        width: Channels of the first stage; 64 is ResNet-50.
        blocks: Bottlenecks in each of the three stages.
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential

    def __init__(self, width: int = 64, blocks: Sequence[int] = (3, 4, 6)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = FrozenBatchNorm(width)
        channels = width
        for stage, count in enumerate(blocks):
            inner, layers = width << stage, []
            for block in range(count):
                layers.append(Bottleneck(channels, inner, 2 if stage and not block else 1))
                channels = inner * Bottleneck.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.widths = (width * 4, width * 8, width * 16, width * 16)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Encode normalised frames [B, 3, H, W] into four maps [B, C, H / s, W / s]."""
        x = F.relu(convolve(x, self.conv1, self.bn1), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        stride4 = self.layer1(x)
        stride8 = self.layer2(stride4)
        stride16 = self.layer3(stride8)
        return [stride4, stride8, stride16, stride16]


class ConvNorm(nn.Sequential):
    """Convolution, frozen batch norm, ReLU6; only the stride changes the size."""

    def __init__(self, channels: int, out: int, kernel: int, **options: Any) -> None:
        padding = kernel // 2 * options.get("dilation", 1)
        convolution = nn.Conv2d(channels, out, kernel, padding=padding, bias=False, **options)
        super().__init__(convolution, FrozenBatchNorm(out), nn.ReLU6(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, out, H / stride, W / stride]."""
        convolution, norm, activation = self
        assert isinstance(convolution, nn.Conv2d)
        return activation(convolve(x, convolution, norm))


class InvertedResidual(nn.Module):
    """Pointwise, depthwise and pointwise convolution (Sandler et al., arXiv:1801.04381v4)."""

    def __init__(self, channels: int, out: int, widen: int, stride: int, dilation: int) -> None:
        super().__init__()
        hidden = channels * widen
        layers: list[nn.Module] = [ConvNorm(channels, hidden, 1)] if widen != 1 else []
        layers.append(ConvNorm(hidden, hidden, 3, stride=stride, dilation=dilation, groups=hidden))
        layers += [nn.Conv2d(hidden, out, 1, bias=False), FrozenBatchNorm(out)]
        self.conv = nn.Sequential(*layers)
        self.keeps_shape = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, out, H / stride, W / stride]."""
        *widen_and_filter, narrow, norm = self.conv
        assert isinstance(narrow, nn.Conv2d)
        narrowed = x
        for layer in widen_and_filter:
            narrowed = layer(narrowed)
        narrowed = convolve(narrowed, narrow, norm)
        return x + narrowed if self.keeps_shape else narrowed


class MobileNetV2(Encoder):
    """MobileNetV2 with output stride 16: the last stride is replaced by dilation.

    Args:
        width: Multiplier of all channel counts, which are rounded to multiples of 8.
        last_width: Channels of the last map.
    """

    # (expansion, channels, blocks, stride, dilation of the first block, of the others)
    layout = (
        (1, 16, 1, 1, 1, 1),
        (6, 24, 2, 2, 1, 1),
        (6, 32, 3, 2, 1, 1),
        (6, 64, 4, 2, 1, 1),
        (6, 96, 3, 1, 1, 1),
        (6, 160, 3, 1, 1, 2),
        (6, 320, 1, 1, 2, 2),
    )
    map_ends = (4, 7, 14, 19)

    def __init__(self, width: float = 1.0, last_width: int = 1280) -> None:
        super().__init__()
        channels = _in_eights(32 * width)
        features: list[nn.Module] = [ConvNorm(3, channels, 3, stride=2)]
        for widen, out, count, stride, first_dilation, dilation in self.layout:
            out = _in_eights(out * width)
            for block in range(count):
                where = (1, dilation) if block else (stride, first_dilation)
                features.append(InvertedResidual(channels, out, widen, *where))
                channels = out
        features.append(ConvNorm(channels, last_width, 1))
        self.features = nn.Sequential(*features)
        self.widths = (*(_in_eights(c * width) for c in (24, 32, 96)), last_width)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Encode normalised frames [B, 3, H, W] into four maps [B, C, H / s, W / s]."""
        maps = []
        for number, layer in enumerate(self.features, start=1):
            x = layer(x)
            if number in self.map_ends:
                maps.append(x)
        return maps


class SmallResNet(Encoder):
    """A small residual network with group norms, for training from scratch.

    Args:
        widths: Channels at strides 4, 8 and 16, multiples of 8.
        depths: Residual blocks at these strides.
    """

    def __init__(
        self, widths: Sequence[int] = (32, 64, 128), depths: Sequence[int] = (1, 2, 2)
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, stride=2, padding=1, bias=False),
            nn.GroupNorm(8, widths[0]),
            nn.ReLU(),
        )
        self.stages = nn.ModuleList()
        channels = widths[0]
        for width, depth in zip(widths, depths, strict=True):
            blocks = [ResidualBlock(channels, width, stride=2)]
            blocks += [ResidualBlock(width, width, stride=1) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
            channels = width
        self.widths = (*widths, widths[-1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Encode normalised frames [B, 3, H, W] into four maps [B, C, H / s, W / s]."""
        maps, x = [], self.stem(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return [*maps, x]


def _in_eights(channels: float) -> int:
    return max(8, int(channels + 4) // 8 * 8)


ENCODERS: dict[str, type[Encoder]] = {
    "r50": ResNet,
    "mobilenetv2": MobileNetV2,
    "small": SmallResNet,
}


def build_encoder(encoder: str | Mapping[str, Any]) -> Encoder:
    """Build an encoder from its name, or from a mapping with a `type` and options.

    Raises:
        UnknownNameError: If there is no encoder of that name.

    Example:
        >>> build_encoder("mobilenetv2").widths
        (24, 32, 96, 1280)
        >>> build_encoder(dict(type="r50", width=8, blocks=(1, 1, 1))).widths
        (32, 64, 128, 128)
    """
    options = {"type": encoder} if isinstance(encoder, str) else dict(encoder)
    name = options.pop("type", None)
    if name not in ENCODERS:
        raise UnknownNameError(
            f"{name!r} is not an encoder. Available: {', '.join(ENCODERS)}; with options: "
            "`encoder=dict(type='r50', width=8)`."
        )
    return ENCODERS[name](**options)
