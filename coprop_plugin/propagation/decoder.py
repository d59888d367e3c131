"""AOT's decoder: from tokens to one logit map per identity."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from coprop_plugin.propagation.geometry import resize_features


class ConvGroupNorm(nn.Sequential):
    """Convolution that keeps the size, group norm of eight groups, ReLU."""

    def __init__(self, channels: int, out: int, kernel: int) -> None:
        convolution = nn.Conv2d(channels, out, kernel, padding=kernel // 2)
        super().__init__(convolution, nn.GroupNorm(8, out), nn.ReLU())


class Decoder(nn.Module):
    """AOT's feature pyramid head: the tokens of all blocks, refined with the encoder's maps.

    Args:
        width: C of the tokens.
        num_maps: Number of token maps: the encoder's, and one per block.
        encoder_widths: Channels of the encoder's maps at strides 4, 8, 16.
        num_logits: Identities and the background.
    """

    def __init__(
        self, width: int, num_maps: int, encoder_widths: Sequence[int], num_logits: int
    ) -> None:
        super().__init__()
        half = width // 2
        self.enter = ConvGroupNorm(width * num_maps, width, 1)
        self.adapt = nn.ModuleList(
            nn.Conv2d(channels, out, 1)
            for channels, out in zip(encoder_widths, (half, width, width), strict=True)
        )
        self.refine = nn.ModuleList(
            ConvGroupNorm(channels, out, 3)
            for channels, out in ((half, half), (width, half), (width, width))
        )
        self.leave = nn.Conv2d(half, num_logits, 1)

    def forward(self, tokens: Sequence[Tensor], maps: Sequence[Tensor]) -> Tensor:
        """Decode tokens.

        Args:
            tokens: `[B, H / 16, W / 16, C]` each.
            maps: The encoder's, `[B, C_s, H / s, W / s]` at strides 4, 8, 16.

        Returns:
            Logits `[B, num_logits, H / 4, W / 4]`.
        """
        x = self.enter(rearrange(torch.cat(list(tokens), dim=-1), "b h w c -> b c h w"))
        for level in (2, 1, 0):
            x = resize_features(x, maps[level].shape[-2:])
            x = self.refine[level](self.adapt[level](maps[level]) + x)
        return self.leave(x)


def initialise(module: nn.Module) -> None:
    """Initialise every weight of two or more axes as AOT does: Xavier, uniform."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)


def upsample(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Resize logits [B, C, H / 4, W / 4] to the frame's size."""
    return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=True)
