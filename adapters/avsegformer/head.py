"""AVSegFormer's head: from maps of a frame and its audio to masks of sounding objects."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from coprop_plugin.adapters.avsegformer.deformable import pixel_places, sine_code
from coprop_plugin.adapters.avsegformer.transformer_layers import (
    DecoderLayer,
    EncoderLayer,
    ListeningLayer,
)
from coprop_plugin.layers import ModuleListOf

STRIDE = 4
"""Pixels of a frame per pixel of its mask feature."""


def reduced(channels: int, width: int) -> nn.Sequential:
    """A pointwise convolution with group norm, eight channels per group."""
    return nn.Sequential(nn.Conv2d(channels, width, 1), nn.GroupNorm(width // 8, width))


class PixelEncoder(nn.Module):
    """Deformable encoder over the maps at strides 8, 16 and 32.

    Args:
        channels: Channels of the three maps.
        width: Channels of a token.
        heads: Attention heads.
        layers: Encoder layers.
        points: Sampling points per head and map.
        hidden: Hidden channels of the feed-forward parts.
        dropout: During training.
    """

    def __init__(
        self,
        channels: Sequence[int],
        width: int,
        heads: int,
        layers: int,
        points: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(reduced(wide, width) for wide in channels)
        self.level_code = nn.Parameter(torch.randn(len(channels), width))
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads, len(channels), points, hidden, dropout)
            for _ in range(layers)
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Encode maps [B, C, h, w]; returns all pixels [B, N, C] and the finest map again."""
        maps = [reduce(x) for reduce, x in zip(self.reduce, maps, strict=True)]
        sizes = [(x.shape[-2], x.shape[-1]) for x in maps]
        tokens = torch.cat([rearrange(x, "b c h w -> b (h w) c") for x in maps], dim=1)
        codes = zip(sizes, self.level_code, strict=True)
        code = torch.cat(
            [sine_code(*size, tokens.shape[-1], tokens.device) + level for size, level in codes]
        ).to(tokens)
        # Half precision is too coarse for positions: it would move them by parts of a pixel.
        exact = torch.promote_types(tokens.dtype, torch.float32)
        places = pixel_places(sizes, tokens.device, exact)
        for layer in self.layers:
            tokens = layer(tokens, code, places, sizes)
        height, width = sizes[0]
        return tokens, rearrange(tokens[:, : height * width], "b (h w) c -> b c h w", h=height)


class QueryDecoder(nn.Module):
    """Queries conditioned on audio, then decoded from the pixels.

    Args:
        num_queries: Q.
        width: Channels of a query.
        heads: Attention heads.
        layers: Audio-conditioning layers, and as many decoder layers.
        listening_hidden: Hidden channels of the audio-conditioning layers.
        hidden: Hidden channels of the decoder layers.
        dropout: During training.
    """

    def __init__(
        self,
        num_queries: int,
        width: int,
        heads: int,
        layers: int,
        listening_hidden: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.listeners = nn.Parameter(torch.empty(num_queries, width))
        self.learned = nn.Parameter(torch.empty(num_queries, width))
        self.listening = nn.ModuleList(
            ListeningLayer(width, heads, listening_hidden) for _ in range(layers)
        )
        self.looking = nn.ModuleList(
            DecoderLayer(width, heads, hidden, dropout) for _ in range(layers)
        )

    def forward(self, sound: Tensor, pixels: Tensor) -> Tensor:
        """Decode audio [B, 1, C] and pixels [B, N, C]; returns queries [B, Q, C]."""
        # Before any audio, the queries of all frames are the same.
        queries = self.listeners[None]
        for layer in self.listening:
            queries = layer(queries, sound)
        queries = queries + self.learned
        for layer in self.looking:
            queries = layer(queries, pixels)
        return queries


class SoundGate(nn.Module):
    """Channel gate between 0 and 1, computed by attention from the audio to the pixels.

    The attended value, through a sigmoid, is one factor per channel. Mapping the one query to the
    pixels' side is cheaper than mapping all pixels to keys and values, which are never computed.

    Args:
        width: Channels.
        heads: Attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.project = nn.Linear(width, width)

    def forward(self, feature: Tensor, sound: Tensor) -> Tensor:
        """Gate maps [B, C, H, W] with audio [B, 1, C]."""
        query = rearrange(self.query(sound), "b 1 (heads d) -> heads b d", heads=self.heads)
        key, value = (
            rearrange(x.weight.to(query.dtype), "(heads d) c -> heads d c", heads=self.heads)
            for x in (self.key, self.value)
        )
        pixels = rearrange(feature, "b c h w -> b (h w) c")
        per_pixel = rearrange(query @ key, "heads b c -> b c heads") * query.shape[-1] ** -0.5
        weights = (pixels @ per_pixel).softmax(1)
        seen = rearrange(weights.mT.to(pixels.dtype) @ pixels, "b heads c -> heads b c")
        read = rearrange(seen @ value.mT, "heads b d -> b (heads d)")
        gate = self.project(read).sigmoid()
        return feature * gate[:, :, None, None]


class MaskFeature(nn.Module):
    """Mask feature: the finest map plus the encoder's, gated by the audio.

    Args:
        channels: Channels of the backbone's finest map.
        width: Channels of the result.
        heads: Attention heads of the gate.
    """

    def __init__(self, channels: int, width: int, heads: int) -> None:
        super().__init__()
        self.reduce = reduced(channels, width)
        self.lateral = reduced(width, width)
        self.smooth = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(width // 8, width), nn.ReLU()
        )
        self.gate = SoundGate(width, heads)

    def forward(self, fine: Tensor, encoded: Tensor, sound: Tensor) -> Tensor:
        """Join maps at strides 4 and 8, and audio [B, 1, C]; returns [B, C, H / 4, W / 4]."""
        fine = self.lateral(self.reduce(fine))
        encoded = F.interpolate(encoded, fine.shape[-2:], mode="bilinear", align_corners=False)
        return self.gate(self.smooth(fine + encoded), sound)


class MaskHead(nn.Module):
    """Masks from a mask feature and all queries together.

    The products of queries and pixels go through three pointwise maps and are added to the pixel's
    feature. The first map is linear in the queries, so it is applied to the queries rather than to
    their far larger maps.

    Args:
        num_classes: C.
        num_queries: Q.
        width: Channels of feature and queries.
        hidden: Hidden channels of the pointwise maps.
    """

    def __init__(self, num_classes: int, num_queries: int, width: int, hidden: int) -> None:
        super().__init__()
        self.mix: ModuleListOf[nn.Linear] = ModuleListOf(
            [nn.Linear(num_queries, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, width)]
        )
        self.coarse = nn.Conv2d(width, width // 2, 3, padding=1)
        self.fine = nn.Conv2d(width // 2, width // 8, 3, padding=1)
        self.classify = nn.Conv2d(width // 8, num_classes, 1, bias=False)

    def forward(self, feature: Tensor, queries: Tensor) -> Tensor:
        """Decode feature [B, C, h, w] with queries [B, Q, C]; logits [B, classes, 4 h, 4 w]."""
        pixels = rearrange(feature, "b c h w -> b (h w) c")
        mixed = F.linear(queries.mT, self.mix[0].weight)
        # Frame by frame, because this is by far the largest map.
        matched = torch.cat(
            [self._matched(*one) for one in zip(pixels.split(1), mixed.split(1), strict=True)]
        )
        feature = feature + rearrange(matched, "b (h w) c -> b c h w", h=feature.shape[-2])
        x = F.interpolate(self.coarse(feature), scale_factor=STRIDE, mode="bilinear")
        return self.classify(self.fine(x).relu_())

    def _matched(self, pixels: Tensor, mixed: Tensor) -> Tensor:
        """Match queries, mixed into [1, C, hidden], with pixels [1, N, C]; returns [1, N, C]."""
        x = (pixels @ mixed + self.mix[0].bias.to(mixed.dtype)).relu_()
        return self.mix[2](self.mix[1](x).relu_())
