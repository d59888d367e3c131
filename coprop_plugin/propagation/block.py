"""One block of AOT's transformer, and the sine code of a token's position."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from coprop_plugin.propagation.attention import (
    LongTermAttention,
    SelfAttention,
    ShortTermAttention,
)


def sine_position(height: int, width: int, channels: int) -> Tensor:
    """Encode the position of every token: `[H, W, C]` float64, first half y, second half x.

    Each axis runs from 0 to 2 pi; sine and cosine alternate, wavelengths rise to 10000.
    """
    half = channels // 2
    wavelength = 10_000.0 ** (torch.arange(0, half, 2, dtype=torch.float64) / half)

    def code(length: int) -> Tensor:
        angle = torch.arange(length, dtype=torch.float64) / (length - 1 + 1e-6) * 2 * math.pi
        angle = angle[:, None] / wavelength
        return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)

    y = code(height)[:, None].expand(-1, width, -1)
    x = code(width)[None].expand(height, -1, -1)
    return torch.cat([y, x], dim=-1)


class FeedForward(nn.Module):
    """Two linear maps with group norm, GELU and a depthwise 5x5 convolution between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.norm = nn.GroupNorm(32, 4 * width)
        self.filter = nn.Conv2d(4 * width, 4 * width, 5, padding=2, groups=4 * width, bias=False)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [B, H, W, C] to [B, H, W, C]."""
        wide = rearrange(self.expand(tokens), "b h w c -> b c h w")
        wide = self.filter(F.gelu(self.norm(wide)))
        return self.contract(rearrange(wide, "b c h w -> b h w c"))


class PropagatorBlock(nn.Module):
    """The "Propagator Block" of section 3.4: self-attention, long- and short-term attention, MLP.

    It is AOT's LSTT block, split where the memory enters: `look`, then `propagate`, and `remember`
    once the mask of the frame is known. One map computes query and memory key.

    Args:
        width: C.
        heads: Attention heads.
        radius: Radius of the short-term window, in tokens.
        drop_path: Share of clips that skip self-attention or MLP in training.
    """

    def __init__(self, width: int, heads: int, radius: int = 7, drop_path: float = 0.0) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = SelfAttention(width, heads)
        self.memory_norm = nn.LayerNorm(width)
        self.to_key = nn.Linear(width, width)
        self.to_value = nn.Linear(width, width)
        self.long_term = LongTermAttention(width, heads)
        self.short_term = ShortTermAttention(width, heads, radius)
        self.feed_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width)

    def look(self, tokens: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Attend within the frame.

        Args:
            tokens: `[B, H, W, C]`.
            position: `[H, W, C]`.

        Returns:
            The tokens, the query and key of this frame, and its content, which `remember` turns
            into a value; each `[B, H, W, C]`.
        """
        attended = self.self_attention(self.self_norm(tokens), position)
        tokens = tokens + self._drop_path(attended)
        content = self.memory_norm(tokens)
        return tokens, self.to_key(content), content

    def remember(self, content: Tensor, id_emb: Tensor) -> Tensor:
        """Return the memory value [B, H, W, C] of a frame whose masks are known."""
        return self.to_value(content + id_emb)

    def propagate(
        self, tokens: Tensor, key: Tensor, long_term: Sequence[Tensor], short_term: Sequence[Tensor]
    ) -> Tensor:
        """Attend to the memory; tokens and key [B, H, W, C] as `look` returns them.

        Args:
            tokens: `[B, H, W, C]`.
            key: `[B, H, W, C]`, here the query.
            long_term: Keys and values, `[B, heads, M, C / heads]`.
            short_term: Key and value of the previous frame, `[B, H, W, C]`.

        Returns:
            The tokens, `[B, H, W, C]`.
        """
        tokens = tokens + self.long_term(key, *long_term) + self.short_term(key, *short_term)
        return tokens + self._drop_path(self.feed_forward(self.feed_norm(tokens)))

    def _drop_path(self, change: Tensor) -> Tensor:
        """Drop the change for some clips in training, and scale it up for the others."""
        if not (self.training and self.drop_path):
            return change
        keep = 1 - self.drop_path
        return change * torch.empty(len(change), 1, 1, 1).bernoulli_(keep).to(change) / keep
