"""Attention layers for pixels, audio and queries."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention of Vaswani et al. (arXiv:1706.03762v7), Eq. (1).

    Args:
        width: Channels of the queries, and of the result.
        memory_width: Channels of keys and values; None for `width`.
        heads: Attention heads.
    """

    def __init__(self, width: int, memory_width: int | None = None, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(memory_width or width, width)
        self.value = nn.Linear(memory_width or width, width)
        self.project = nn.Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attend from queries [B, N, C] to keys and values [B, M, D]; returns [B, N, C]."""
        query, key, value = (
            rearrange(x, "b n (heads c) -> b heads n c", heads=self.heads)
            for x in (self.query(queries), self.key(keys), self.value(values))
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.project(rearrange(attended, "b heads n c -> b n (heads c)"))


class SoundFusion(nn.Module):
    """Cross-attention from every pixel of one layer's map to the audio of its frame.

    Section 3.3: "features are then integrated through cross-attention mechanisms at each layer".
    Pixels are queries, audio tokens keys and values. The paper has one audio feature per frame,
    over which a softmax is 1 everywhere; here a frame has several tokens, one of which is a learned
    null token for unrelated pixels (see `FrameSound`). The result is added to the map.
    """

    def __init__(self, width: int, sound_width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, sound_width, heads)

    def forward(self, pixels: Tensor, sound: Tensor) -> Tensor:
        """Fuse pixels [B, C, H, W] with audio tokens [B, N, D]; returns [B, C, H, W]."""
        tokens = rearrange(pixels, "b c h w -> b (h w) c")
        attended = self.attention(self.norm(tokens), sound, sound)
        return pixels + rearrange(attended, "b (h w) c -> b c h w", h=pixels.shape[2])


class FeedForward(nn.Sequential):
    """Two linear maps with GELU between them, on normalised tokens."""

    def __init__(self, width: int, widen: int = 3) -> None:
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, widen * width),
            nn.GELU(),
            nn.Linear(widen * width, width),
        )


class EncoderLayer(nn.Module):
    """One layer of the transformer encoder, with pre-normalisation."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads=heads)
        self.feed_forward = FeedForward(width)

    def forward(self, tokens: Tensor, place: Tensor) -> Tensor:
        """Attend within tokens [B, N, C] with position codes `place` [N, C]; returns [B, N, C]."""
        normed = self.norm(tokens)
        placed = normed + place
        tokens = tokens + self.attention(placed, placed, normed)
        return tokens + self.feed_forward(tokens)


class DecoderLayer(nn.Module):
    """Self-attention of queries, then cross-attention to audio, then to pixels."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.among = Attention(width, heads=heads)
        self.at_sound = Attention(width, heads=heads)
        self.at_pixels = Attention(width, heads=heads)
        self.feed_forward = FeedForward(width)

    def forward(self, queries: Tensor, code: Tensor, sound: Tensor, memory: Tensor) -> Tensor:
        """Update queries [B, Q, C] with embeddings [Q, C] from audio and memory [B, N, C]."""
        normed = self.norms[0](queries)
        queries = queries + self.among(normed + code, normed + code, normed)
        queries = queries + self.at_sound(self.norms[1](queries) + code, sound, sound)
        queries = queries + self.at_pixels(self.norms[2](queries) + code, memory, memory)
        return queries + self.feed_forward(queries)


def sine_code(height: int, width: int, channels: int) -> Tensor:
    """Encode the position of every pixel of a map: `[H * W, channels]` float32.

    Positions are shares of the frame, the same for maps of all layers; frequencies go from half a
    wave per frame to 2^7 times as many.

    Example:
        >>> sine_code(2, 3, channels=16).shape
        torch.Size([6, 16])
    """
    waves = 2.0 ** torch.linspace(0, 7, channels // 4)

    def code(length: int) -> Tensor:
        angles = (torch.arange(length) + 0.5)[:, None] / length * waves * torch.pi
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    rows = code(height)[:, None].expand(-1, width, -1)
    columns = code(width)[None].expand(height, -1, -1)
    return rearrange(torch.cat([rows, columns], dim=-1), "h w c -> (h w) c")
