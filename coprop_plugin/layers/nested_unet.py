"""U²-Net's small variant: a network that finds the salient object of a photograph.

Qin et al., arXiv:2005.09007v3, in our own code, with batch norms folded into the convolutions.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SIDES = 6
"""Number of stages, each with an output of its own."""


class _ConvReLU(nn.Sequential):
    """3 x 3 convolution with bias and ReLU; the size stays."""

    def __init__(self, channels_in: int, channels_out: int, dilation: int = 1) -> None:
        conv = nn.Conv2d(channels_in, channels_out, 3, padding=dilation, dilation=dilation)
        super().__init__(conv, nn.ReLU(inplace=True))


class ResidualU(nn.Module):
    """A residual block whose inside is a U-Net (RSU in the paper).

    Args:
        levels: Number of levels of the U-Net, with the bottom.
        channels_in: Channels of the input.
        mid: Channels inside.
        channels_out: Channels of the output.
        dilated: Whether convolutions are dilated instead of pooling (RSU-4F).
    """

    def __init__(
        self, levels: int, channels_in: int, mid: int, channels_out: int, dilated: bool = False
    ) -> None:
        super().__init__()
        self.dilated = dilated
        self.enter = _ConvReLU(channels_in, channels_out)
        steps = [2**n if dilated else 1 for n in range(levels - 1)]
        bottom = 2 ** (levels - 1) if dilated else 2
        self.down = nn.ModuleList(
            _ConvReLU(channels_out if n == 0 else mid, mid, step) for n, step in enumerate(steps)
        )
        self.bottom = _ConvReLU(mid, mid, bottom)
        self.up = nn.ModuleList(
            _ConvReLU(2 * mid, channels_out if n == levels - 2 else mid, step)
            for n, step in enumerate(reversed(steps))
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Transform `[B, C_in, H, W]` into `[B, C_out, H, W]`."""
        entered = self.enter(pixels)
        passed, now = [], entered
        for number, conv in enumerate(self.down):
            now = conv(now if number == 0 or self.dilated else _halved(now))
            passed.append(now)
        now = self.bottom(now)
        for conv, beside in zip(self.up, reversed(passed), strict=True):
            now = conv(torch.cat([_resized(now, beside), beside], dim=1))
        return now + entered


class NestedUNet(nn.Module):
    """U²-Net, small: six encoder stages of U-Nets, five decoder stages, 1.1 million parameters.

    Example:
        >>> NestedUNet()(torch.rand(1, 3, 64, 64)).shape
        torch.Size([1, 1, 64, 64])
    """

    widths = (64, 64, 64, 64, 64, 64)
    """Channels of the stages, at strides 1, 2, 4, 8, 16, 32."""
    map_channels = 7 * 64
    """Channels of all maps that `with_maps` returns."""

    def __init__(self) -> None:
        super().__init__()
        stages = [(7, False), (6, False), (5, False), (4, False), (4, True), (4, True)]
        self.encoder = nn.ModuleList(
            ResidualU(levels, 3 if n == 0 else 64, 16, 64, dilated)
            for n, (levels, dilated) in enumerate(stages)
        )
        self.decoder = nn.ModuleList(
            ResidualU(levels, 128, 16, 64, dilated) for levels, dilated in reversed(stages[:5])
        )
        self.sides = nn.ModuleList(nn.Conv2d(64, 1, 3, padding=1) for _ in range(_SIDES))
        self.fuse = nn.Conv2d(_SIDES, 1, 1)

    def encode(self, pixels: Tensor, stages: int = _SIDES) -> list[Tensor]:
        """Return the maps `[B, 64, h, w]` of the first encoder stages, the finest first."""
        maps, now = [], pixels
        for number, stage in enumerate(self.encoder[:stages]):
            now = stage(now if number == 0 else _halved(now))
            maps.append(now)
        return maps

    def decode(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the decoder's maps `[B, 64, h, w]`, finest first; the last is the encoder's."""
        now = maps[-1]
        decoded = [now]
        for stage, beside in zip(self.decoder, reversed(maps[:-1]), strict=True):
            now = stage(torch.cat([_resized(now, beside), beside], dim=1))
            decoded.append(now)
        return decoded[::-1]

    def forward(
        self, pixels: Tensor, with_maps: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Find the salient object.

        Args:
            pixels: `[B, 3, H, W]` RGB, divided by the frame's largest value and normalised by
                ImageNet's mean and standard deviation. The public weights were trained at 320 x
                320.
            with_maps: Whether to return the coarse maps, too.

        Returns:
            Logits `[B, 1, H, W]`; with maps, they and the seven maps `[B, 64, h, w]` of encoder
            and decoder at strides 4 and more.
        """
        encoded = self.encode(pixels)
        decoded = self.decode(encoded)
        sides = [side(one) for side, one in zip(self.sides, decoded, strict=True)]
        logits = self.fuse(torch.cat([_resized(side, sides[0]) for side in sides], dim=1))
        # The decoder's coarsest map is the encoder's.
        return (logits, encoded[2:] + decoded[2:-1]) if with_maps else logits


def _halved(pixels: Tensor) -> Tensor:
    return F.max_pool2d(pixels, 2, ceil_mode=True)


def _resized(pixels: Tensor, like: Tensor) -> Tensor:
    if pixels.shape[-2:] == like.shape[-2:]:
        return pixels
    return F.interpolate(pixels, like.shape[-2:], mode="bilinear", align_corners=False)
