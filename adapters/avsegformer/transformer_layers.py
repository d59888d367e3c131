"""Transformer layers of AVSegFormer, with post-normalisation."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from coprop_plugin.adapters.avsegformer.deformable import DeformableAttention, Sizes


class Attention(nn.Module):
    """Multi-head attention of Vaswani et al. (arXiv:1706.03762v7), section 3.2.2.

    Args:
        width: Channels of queries and tokens.
        heads: Attention heads.
        bias: Whether the linear maps have a bias.
        dropout: Of attention weights, during training.
    """

    def __init__(self, width: int, heads: int, *, bias: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, width, bias=bias)
        self.value = nn.Linear(width, width, bias=bias)
        self.project = nn.Linear(width, width, bias=bias)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Attend from queries [B, Q, C] to tokens [B, N, C]; returns [B, Q, C]."""
        query, key, value = (
            rearrange(x, "b n (heads c) -> b heads n c", heads=self.heads)
            for x in (self.query(queries), self.key(tokens), self.value(tokens))
        )
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.project(rearrange(attended, "b heads n c -> b n (heads c)"))


class FeedForward(nn.Sequential):
    """Two linear maps of every token, with GELU between them."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width)
        )


class EncoderLayer(nn.Module):
    """Deformable self-attention over the pixels of all maps."""

    def __init__(
        self, width: int, heads: int, levels: int, points: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.attention = DeformableAttention(width, heads, levels, points)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, code: Tensor, places: Tensor, sizes: Sizes) -> Tensor:
        """Update tokens [B, N, C] with position code [N, C] at `places` [N, levels, 2]."""
        seen = self.attention(tokens + code, tokens, places, sizes)
        tokens = self.norms[0](tokens + self.drop(seen))
        return self.norms[1](tokens + self.drop(self.feed_forward(tokens)))


class DecoderLayer(nn.Module):
    """Self-attention of queries, then cross-attention to all pixels."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.among = Attention(width, heads, dropout=dropout)
        self.at_pixels = Attention(width, heads, dropout=dropout)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.drop = nn.Dropout(dropout)

    def forward(self, queries: Tensor, pixels: Tensor) -> Tensor:
        """Update queries [B, Q, C] from pixels [B, N, C]."""
        queries = self.norms[0](queries + self.drop(self.among(queries, queries)))
        queries = self.norms[1](queries + self.drop(self.at_pixels(queries, pixels)))
        return self.norms[2](queries + self.drop(self.feed_forward(queries)))


class ListeningLayer(nn.Module):
    """Self-attention of queries, then conditioning on the audio token.

    The released model attends to audio of one token. A softmax over one key is 1, so every query
    gets the same vector; the query and key maps have no effect and are left out.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.among = Attention(width, heads, bias=False)
        self.hear = nn.Linear(width, width, bias=False)
        self.project = nn.Linear(width, width, bias=False)
        self.feed_forward = FeedForward(width, hidden, dropout=0.0)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, queries: Tensor, sound: Tensor) -> Tensor:
        """Update queries [B or 1, Q, C] with audio [B, 1, C]; returns [B, Q, C]."""
        queries = self.norms[0](queries + self.among(queries, queries))
        queries = self.norms[1](queries + self.project(self.hear(sound)))
        return self.norms[2](queries + self.feed_forward(queries))
