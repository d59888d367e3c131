"""The three attentions of AOT's transformer: self, long-term and short-term.

Long Short-Term Transformer, section 4.2 of "Associating Objects with Transformers for Video Object
Segmentation" (Yang et al., arXiv:2106.02638v3). Token maps are `[B, H, W, C]`.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """Cut the channels of a map `[B, H, W, C]` among heads: `[B, heads, H * W, C / heads]`."""
    return rearrange(tokens, "b h w (heads c) -> b heads (h w) c", heads=heads)


def join_heads(tokens: Tensor, height: int) -> Tensor:
    """Undo `split_heads`."""
    return rearrange(tokens, "b heads (h w) c -> b h w (heads c)", h=height)


class SelfAttention(nn.Module):
    """Attention within a frame; position codes are added to queries and keys only."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Attend within tokens [B, H, W, C], position [H, W, C]; returns [B, H, W, C]."""
        placed = tokens + position
        attended = F.scaled_dot_product_attention(
            split_heads(self.query(placed), self.heads),
            split_heads(self.key(placed), self.heads),
            split_heads(self.value(tokens), self.heads),
        )
        return self.project(join_heads(attended, tokens.shape[1]))


class LongTermAttention(nn.Module):
    """Attention to all tokens of all frames in long-term memory.

    Keys and values come from memory, the query from the block, so it has an output map only.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, width)

    def forward(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attend from query [B, H, W, C] to memory [B, heads, M, C / heads]: [B, H, W, C]."""
        attended = F.scaled_dot_product_attention(split_heads(query, self.heads), keys, values)
        return self.project(join_heads(attended, query.shape[1]))


class ShortTermAttention(nn.Module):
    """Attention to a window around the same position in the previous frame.

    The score of a key is its product with the query plus a learned score of the key's offset (from
    the unscaled query); an offset has a value of its own, too. Offsets that leave the frame do not
    take part. No window is ever copied: one matrix product per row of pixels gives the scores with
    all keys in reach of that row, and the windows are a diagonal band of them, a strided view. One
    row at a time stays in the processor's cache.

    Args:
        width: C.
        heads: Attention heads.
        radius: Half the window size: 7 for 15 x 15.
    """

    def __init__(self, width: int, heads: int, radius: int = 7) -> None:
        super().__init__()
        self.heads, self.radius, self.window = heads, radius, 2 * radius + 1
        offsets = self.window**2
        self.relative_key_weight = nn.Parameter(torch.empty(heads * offsets, width // heads))
        self.relative_key_bias = nn.Parameter(torch.zeros(heads * offsets))
        self.relative_value = nn.Parameter(torch.empty(heads, width // heads, offsets))
        self.project = nn.Linear(width, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend from query to key and value of the previous frame; all [B, H, W, C]."""
        rows = rearrange(query, "b h w (heads c) -> h heads b w c", heads=self.heads)
        key, value = (
            rearrange(
                F.pad(x, (0, 0, self.radius, self.radius)),
                "b h w (heads c) -> (heads b) h w c",
                heads=self.heads,
            ).contiguous()
            for x in (key, value)
        )
        relative = rearrange(self.relative_key_weight, "(heads n) c -> heads c n", heads=self.heads)
        bias = rearrange(self.relative_key_bias, "(heads n) -> heads 1 n", heads=self.heads)
        outside = self._outside(query)
        attended = []
        for y, row in enumerate(rows.unbind()):
            reach = slice(max(y - self.radius, 0), y + self.radius + 1)
            offsets = self._offsets(y, len(rows))
            of_offsets = torch.baddbmm(
                bias[..., offsets], row.flatten(1, 2), relative[..., offsets]
            )
            weights = self._weights(row.flatten(0, 1), key[:, reach], of_offsets, outside)
            attended.append(self._attend(weights, value[:, reach], offsets))
        rows = torch.stack(attended)
        return self.project(rearrange(rows, "h (heads b) w c -> b h w (heads c)", heads=self.heads))

    def _weights(self, row: Tensor, keys: Tensor, of_offsets: Tensor, outside: Tensor) -> Tensor:
        """Return the attention weights of the pixels of a row for each offset.

        Args:
            row: Queries `[(heads B), W, C]`.
            keys: Rows in reach, `[(heads B), window or fewer, W + 2 radius, C]`.
            of_offsets: Scores of the offsets, `[heads, (B W), offsets]`.
            outside: -inf where an offset leaves the row, else 0: `[W, 1, window]`.

        Returns:
            `[(heads B), W, offsets]`.
        """
        scores = row * row.shape[-1] ** -0.5 @ keys.flatten(1, 2).mT
        near = self._band(scores, keys.shape[1])
        return (near + of_offsets.view(near.shape) + outside).flatten(2).softmax(-1)

    def _attend(self, weights: Tensor, values: Tensor, offsets: slice) -> Tensor:
        """Sum values [(heads B), rows, W + 2 radius, C] and those of the offsets: [.., W, C]."""
        width, num_rows, columns = weights.shape[1], *values.shape[1:3]
        banded = weights.new_zeros(len(weights), width, num_rows * columns)
        band = self._band(banded, num_rows)
        band.copy_(weights.view(band.shape))
        of_pixels = banded @ values.flatten(1, 2)
        of_offsets = weights.view(self.heads, -1, weights.shape[-1])
        of_offsets = of_offsets @ self.relative_value[..., offsets].mT
        return of_pixels + of_offsets.view(of_pixels.shape)

    def _band(self, scores: Tensor, num_rows: int) -> Tensor:
        """View the windows in scores [N, W, rows * (W + 2 radius)]: [N, W, rows, window].

        The window of pixel x is columns x to x + window - 1 of each row in reach: one column
        further right for each pixel.
        """
        number, width, reach = scores.shape
        size = (number, width, num_rows, self.window)
        return scores.as_strided(size, (width * reach, reach + 1, reach // num_rows, 1))

    def _offsets(self, y: int, height: int) -> slice:
        """Return the offsets that stay inside a frame of some height, as seen from row y."""
        first, last = max(self.radius - y, 0), min(height - 1 - y, self.radius) + self.radius
        return slice(first * self.window, (last + 1) * self.window)

    def _outside(self, query: Tensor) -> Tensor:
        x = torch.arange(query.shape[2], device=query.device)[:, None]
        x = x + torch.arange(-self.radius, self.radius + 1, device=query.device)
        outside = (x < 0) | (x >= query.shape[2])
        return query.new_zeros(outside.shape).masked_fill(outside, -torch.inf)[:, None]
