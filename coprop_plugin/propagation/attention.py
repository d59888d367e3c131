"""The three attentions of AOT's transformer: within the frame, far back, and one frame back.

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
    """Every token looks at all tokens of its own frame. Place speaks in queries and keys only."""

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
    """Every token looks at all tokens of all frames in long-term memory.

    Keys and values come from memory, the query from the block, so there is an output map only.
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
    """Every token looks at a window around its own place in the frame before.

    The score of a key adds to its product with the query what the query says of the key's offset
    alone (from the unscaled query); an offset has a value of its own, too. Offsets that leave the
    picture do not take part. No window is ever copied: one matrix product a row of pixels gives
    the scores with all keys in reach of that row, and the window is a diagonal band of them.

    Args:
        width: C.
        heads: Heads that share the channels.
        radius: Half the window: 7 for 15 x 15.
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
        """Attend from query to key and value of the frame before; all [B, H, W, C]."""
        query, key, value = (
            rearrange(x, "b h w (heads c) -> b heads h w c", heads=self.heads)
            for x in (query, key, value)
        )
        height, width, channels = query.shape[-3:]
        near = self._band(query * channels**-0.5 @ self._rows(key).mT)
        scores = near + self._said_of_offsets(query)
        scores = scores.masked_fill(self._outside(height, width, query.device), -torch.inf)
        weights = scores.softmax(-1)
        of_pixels = self._unband(weights) @ self._rows(value)
        of_offsets = weights @ self.relative_value.mT[:, None]
        attended = rearrange(of_pixels + of_offsets, "b heads h w c -> b h w (heads c)")
        return self.project(attended)

    def _said_of_offsets(self, query: Tensor) -> Tensor:
        weight = rearrange(self.relative_key_weight, "(heads n) c -> heads 1 c n", heads=self.heads)
        bias = rearrange(self.relative_key_bias, "(heads n) -> heads 1 1 n", heads=self.heads)
        return query @ weight + bias

    def _rows(self, x: Tensor) -> Tensor:
        """Gather, for each row of [B, heads, H, W, C], all pixels that its windows reach.

        Returns `[B, heads, H, window * (W + 2 radius), C]`, zero outside the picture.
        """
        padded = F.pad(x, (0, 0, *(self.radius,) * 4))
        rows = padded.unfold(2, self.window, 1)
        return rearrange(rows, "b heads h w c dy -> b heads h (dy w) c")

    def _band(self, scores: Tensor) -> Tensor:
        """Take the windows out of scores [B, heads, H, W, reach]: [..., W, window ** 2].

        Pixel x wants columns x to x + window - 1 of each row in reach. Rows of `reach` numbers
        read as rows of `reach + 1` start one column further right each time.
        """
        width, reach = scores.shape[-2:]
        slid = F.pad(scores.flatten(-2), (0, width)).unflatten(-1, (width, reach + 1))
        rows = slid[..., :reach].unflatten(-1, (self.window, -1))
        return rows[..., : self.window].flatten(-2)

    def _unband(self, weights: Tensor) -> Tensor:
        """Undo `_band`; zero outside the windows."""
        width = weights.shape[-2]
        rows = weights.unflatten(-1, (self.window, self.window))
        slid = F.pad(rows, (0, width - 1)).flatten(-2)
        reach = slid.shape[-1]
        flat = F.pad(slid, (0, 1)).flatten(-2)[..., : width * reach]
        return flat.unflatten(-1, (width, reach))

    def _outside(self, height: int, width: int, device: torch.device) -> Tensor:
        """Tell which offsets leave the picture: `[H, W, window ** 2]` bool."""
        reach = torch.arange(-self.radius, self.radius + 1, device=device)
        y = torch.arange(height, device=device)[:, None] + reach
        x = torch.arange(width, device=device)[:, None] + reach
        y_out, x_out = (y < 0) | (y >= height), (x < 0) | (x >= width)
        return (y_out[:, None, :, None] | x_out[None, :, None, :]).flatten(-2)
