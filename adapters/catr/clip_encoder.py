"""CATR's encoder over a clip: multiplicative fusion of pixels and audio."""

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from coprop_plugin.adapters.catr.frame_attention import EncoderLayer, attention

LAYERS = 3
"""The number of layers that the gates at the end join."""


class Fusion(nn.Module):
    """Tokens x times their attended values y, twice: x y^2, without residual or norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = attention(width, heads)

    def forward(
        self, tokens: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None = None
    ) -> Tensor:
        """Fuse tokens [B, N, C] with their attention to keys and values [B, M, C]."""
        found, _ = self.attention(tokens, keys, values, key_padding_mask=hidden, need_weights=False)
        return tokens * found * found


class ClipLayer(nn.Module):
    """Self-attention within each frame, then fusion of pixels with audio and audio with pixels.

    Args:
        width: Channels.
        heads: Attention heads among the tokens of a frame.
        fusion_heads: Attention heads between pixels and audio.
        hidden: Hidden channels of the feed-forward part.
        dropout: During training.
        last: Whether it is the last layer, which need not update the audio.
    """

    def __init__(
        self, width: int, heads: int, fusion_heads: int, hidden: int, dropout: float, last: bool
    ) -> None:
        super().__init__()
        self.in_frame = EncoderLayer(width, heads, hidden, dropout)
        self.hear = Fusion(width, fusion_heads)
        self.look = None if last else Fusion(width, fusion_heads)

    def forward(
        self,
        pixels: Tensor,
        sounds: Tensor,
        place: Tensor,
        hidden: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Update pixels [B, T, P, C] and the audio tokens of their clip, [B, N, C].

        Their position codes are `place` [B or 1, T or 1, P + N, C]; tokens where `hidden`
        [B, T, P + N] is True are not attended to.
        """
        frames, count = pixels.shape[1:3]
        tokens = torch.cat([pixels, repeat(sounds, "b n c -> b t n c", t=frames)], dim=2)
        padding = None if hidden is None else hidden.flatten(0, 1)
        tokens = self.in_frame(tokens.flatten(0, 1), place.flatten(0, 1), padding)
        tokens = rearrange(tokens, "(b t) s c -> b t s c", t=frames)
        # Every frame has updated a copy of the audio tokens; that of the first frame is kept.
        pixels, sounds = tokens[:, :, :count].flatten(1, 2), tokens[:, 0, count:]
        pixels = self.hear(pixels, sounds, sounds)
        placed = rearrange(pixels, "b (t p) c -> b t p c", t=frames)
        if self.look is not None:
            keys = (placed + place[:, :, :count]).flatten(1, 2)
            padding = None if hidden is None else hidden[:, :, :count].flatten(1)
            sounds = self.look(sounds, keys, pixels, padding)
        return placed, sounds


class ClipEncoder(nn.Module):
    """Three layers over a clip, and two gates that weigh the later ones.

    From the output maps E1, E2, E3 of the layers, two channels a_1, a_2 of a convolution over E1
    and E2 give two numbers a frame, p_i = mean sigmoid(a_i). The first gate is p_1, the second the
    mean over i of sigmoid(p_i):

        E = second(first(p_1 E2) + mean_i sigmoid(p_i) E3).

    Args:
        width: Channels.
        heads: Attention heads among the tokens of a frame.
        fusion_heads: Attention heads between pixels and audio.
        hidden: Hidden channels of the feed-forward parts.
        dropout: During training.
    """

    def __init__(
        self, width: int, heads: int, fusion_heads: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            ClipLayer(width, heads, fusion_heads, hidden, dropout, last=number == LAYERS)
            for number in range(1, LAYERS + 1)
        )
        self.gate = nn.Conv2d(2 * width, 2, 3, padding=1)
        self.first, self.second = (_smooth(width) for _ in range(2))

    def forward(
        self,
        pixels: Tensor,
        sounds: Tensor,
        place: Tensor,
        height: int,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Encode pixels [B, T, h * w, C] and audio [B, N, C]; returns maps [(b t), C, h, w].

        `place` and `hidden` are as in `ClipLayer`; `height` is h.
        """
        maps = []
        for layer in self.layers:
            pixels, sounds = layer(pixels, sounds, place, hidden)
            maps.append(rearrange(pixels, "b t (h w) c -> (b t) c h w", h=height))
        early, middle, late = maps
        shares = self.gate(torch.cat([early, middle], dim=1)).sigmoid().mean((2, 3))
        first, second = shares[:, 0], shares.sigmoid().mean(1)
        return self.second(self.first(_scaled(middle, first)) + _scaled(late, second))


def _scaled(maps: Tensor, gate: Tensor) -> Tensor:
    return maps * rearrange(gate, "n -> n 1 1 1")


def _smooth(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.PReLU())
