"""Transformer layers of CATR: self-attention within a frame, and queries over its tokens."""

import torch
from einops import rearrange
from torch import Tensor, nn


def attention(width: int, heads: int, dropout: float = 0.0) -> nn.MultiheadAttention:
    """Return multi-head attention over [N, S, C]; call it with `need_weights=False`."""
    return nn.MultiheadAttention(width, heads, dropout, batch_first=True)


class FeedForward(nn.Module):
    """Two linear maps with ReLU between them."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.contract = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map every token of [N, S, C] by itself."""
        return self.contract(self.dropout(self.expand(tokens).relu()))


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward part, each normalised after its residual."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.among = attention(width, heads, dropout)
        self.among_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, place: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Attend within tokens [N, S, C] with position codes `place` [N, S, C].

        Tokens where `hidden` [N, S] is True are not attended to.
        """
        placed = tokens + place
        seen, _ = self.among(placed, placed, tokens, key_padding_mask=hidden, need_weights=False)
        tokens = self.among_norm(tokens + self.dropout(seen))
        return self.feed_forward_norm(tokens + self.dropout(self.feed_forward(tokens)))


class DecoderLayer(nn.Module):
    """Self-attention of queries, then cross-attention to the tokens of their frame."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.among = attention(width, heads, dropout)
        self.among_norm = nn.LayerNorm(width)
        self.at_memory = attention(width, heads, dropout)
        self.at_memory_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        queries: Tensor,
        code: Tensor,
        keys: Tensor,
        memory: Tensor,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Update queries [N, Q, C] with embeddings `code` [Q, C] from keys and memory [N, S, C]."""
        coded = queries + code
        seen, _ = self.among(coded, coded, queries, need_weights=False)
        queries = self.among_norm(queries + self.dropout(seen))
        seen, _ = self.at_memory(
            queries + code, keys, memory, key_padding_mask=hidden, need_weights=False
        )
        queries = self.at_memory_norm(queries + self.dropout(seen))
        return self.feed_forward_norm(queries + self.dropout(self.feed_forward(queries)))


class QueryDecoder(nn.Module):
    """Decoder of learned queries for the sounding objects of every frame.

    Args:
        width: Channels of queries and memory.
        heads: Attention heads.
        hidden: Hidden channels of the feed-forward parts.
        layers: Decoder layers.
        num_queries: Q.
        dropout: During training.
    """

    def __init__(
        self, width: int, heads: int, hidden: int, layers: int, num_queries: int, dropout: float
    ) -> None:
        super().__init__()
        self.code = nn.Parameter(torch.randn(num_queries, width))
        self.layers = nn.ModuleList(
            DecoderLayer(width, heads, hidden, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, memory: Tensor, place: Tensor, hidden: Tensor | None = None) -> list[Tensor]:
        """Decode memory [N, S, C] with position codes `place`: queries [N, Q, C] of each layer."""
        keys = memory + place
        queries = memory.new_zeros(len(memory), *self.code.shape)
        decoded = []
        for layer in self.layers:
            queries = layer(queries, self.code, keys, memory, hidden)
            decoded.append(self.norm(queries))
        return decoded


class EmbeddingTokens(nn.Sequential):
    """VGGish embeddings `[..., 128]` as tokens `[..., width]`."""

    def __init__(self, width: int, dropout: float, embedding: int = 128) -> None:
        super().__init__()
        self.project = nn.Linear(embedding, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)


def sine_places(padding: Tensor, channels: int) -> Tensor:
    """Encode the position of every pixel: rows in the first half of the channels, then columns.

    Positions are counted from 1 inside the frame, as shares of its size times 2 pi; wavelengths go
    from one frame to 10 000 frames, sine and cosine alternate.

    Args:
        padding: `[N, h, w]` bool, True outside the frame.
        channels: A multiple of 4.

    Returns:
        `[N, h * w, channels]` float32.

    Example:
        >>> sine_places(torch.zeros(1, 2, 3, dtype=torch.bool), channels=8).shape
        torch.Size([1, 6, 8])
    """
    waves = 10_000.0 ** -torch.linspace(0, 1, channels // 4 + 1, device=padding.device)[:-1]

    def code(axis: int) -> Tensor:
        counts = (~padding).cumsum(axis, dtype=torch.float32)
        length = counts.narrow(axis, counts.shape[axis] - 1, 1)
        angles = rearrange(2 * torch.pi * counts / (length + 1e-6), "n h w -> n h w 1") * waves
        return torch.stack([angles.sin(), angles.cos()], dim=-1)

    return rearrange([code(1), code(2)], "axes n h w c two -> n (h w) (axes c two)")
