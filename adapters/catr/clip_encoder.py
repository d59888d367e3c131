"""What couples the frames of a clip in CATR: pixels and sounds that multiply one another."""

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from coprop_plugin.adapters.catr.frame_attention import EncoderLayer, attention

LAYERS = 3
"""As many as the gates at the end join."""


class Fusion(nn.Module):
    """Tokens times what they find, twice: x y^2, with neither residual nor norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = attention(width, heads)

    def forward(
        self, tokens: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None = None
    ) -> Tensor:
        """Fuse tokens [B, N, C] with what they find in keys and values [B, M, C]."""
        found, _ = self.attention(tokens, keys, values, key_padding_mask=hidden, need_weights=False)
        return tokens * found * found


class ClipLayer(nn.Module):
    """Tokens of each frame among themselves; then pixels hear, and sounds look at all frames.

    Args:
        width: Channels.
        heads: Attention heads among the tokens of a frame.
        fusion_heads: Attention heads between pixels and sounds.
        hidden: Channels inside the feed-forward part.
        dropout: While training.
        last: Whether no layer follows that would need the sounds.
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
        """Update pixels [B, T, P, C] and the sounds of their clip, [B, N, C].

        They stand at place [B or 1, T or 1, P + N, C]; pixels and sounds where `hidden`
        [B, T, P + N] is True are looked at by nobody.
        """
        frames, count = pixels.shape[1:3]
        tokens = torch.cat([pixels, repeat(sounds, "b n c -> b t n c", t=frames)], dim=2)
        blind = None if hidden is None else hidden.flatten(0, 1)
        tokens = self.in_frame(tokens.flatten(0, 1), place.flatten(0, 1), blind)
        tokens = rearrange(tokens, "(b t) s c -> b t s c", t=frames)
        # Every frame has updated a copy of the sounds; that of the first frame goes on.
        pixels, sounds = tokens[:, :, :count].flatten(1, 2), tokens[:, 0, count:]
        pixels = self.hear(pixels, sounds, sounds)
        placed = rearrange(pixels, "b (t p) c -> b t p c", t=frames)
        if self.look is not None:
            keys = (placed + place[:, :, :count]).flatten(1, 2)
            blind = None if hidden is None else hidden[:, :, :count].flatten(1)
            sounds = self.look(sounds, keys, pixels, blind)
        return placed, sounds


class ClipEncoder(nn.Module):
    """Three layers over a clip, and two gates that decide how much of the later ones counts.

    From the maps E1, E2, E3 that the layers leave, two channels a_1, a_2 of a convolution over E1
    and E2 give two numbers a frame, p_i = mean sigmoid(a_i). The first gate is p_1, the second the
    mean over i of sigmoid(p_i):

        E = second(first(p_1 E2) + mean_i sigmoid(p_i) E3).

    Args:
        width: Channels.
        heads: Attention heads among the tokens of a frame.
        fusion_heads: Attention heads between pixels and sounds.
        hidden: Channels inside the feed-forward parts.
        dropout: While training.
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
        """Encode pixels [B, T, h * w, C] and sounds [B, N, C]; returns maps [(b t), C, h, w].

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
