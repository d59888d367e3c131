"""From fused maps to masks: a pixel decoder and audio-conditioned queries."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from coprop_plugin.keyframes.cross_attention import DecoderLayer
from coprop_plugin.keyframes.frame_tokens import EMBEDDING_PLACE

_FLOOR = math.exp(-15)


class PixelDecoder(nn.Module):
    """Add coarse maps to finer ones, from stride 16 down to stride 4.

    Args:
        widths: Channels of the fused maps at strides 4, 8 and 16.
        out: Channels of the mask feature.
    """

    def __init__(self, widths: Sequence[int], out: int) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(nn.Conv2d(width, out, 1) for width in widths)
        self.smooth = nn.ModuleList(_smooth(out) for _ in widths[:-1])

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Join maps [B, C, h, w], finest first, into the mask feature [B, out, H / 4, W / 4]."""
        feature = self.reduce[-1](maps[-1])
        for level in reversed(range(len(self.smooth))):
            finer = self.reduce[level](maps[level])
            coarse = F.interpolate(feature, finer.shape[-2:], mode="bilinear", align_corners=False)
            feature = self.smooth[level](finer + coarse)
        return feature


def _smooth(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.GroupNorm(8, channels),
        nn.ReLU(),
    )


@dataclass(frozen=True)
class LayerPrediction:
    """Prediction of the queries after one decoder layer.

    Attributes:
        logits: `[B, C, h, w]`, a quarter of the frame's size, including the background's channel
            (0, all zero) of a semantic head.
        sounding: `[B, O]` logits that each class of objects sounds and is visible; O is 1 for a
            binary head, C - 1 for a semantic one.
    """

    logits: Tensor
    sounding: Tensor


class QueryDecoder(nn.Module):
    """Audio-queried decoding: queries conditioned on audio attend to the pixels.

    As in CATR (Li et al. 2023, which section 3.3 cites), learned queries, to which the audio
    embedding is added, attend to the audio and to the encoded pixels. Each predicts a mask
    m_q = <embedding, mask feature> and, for each class c, a score s_qc that this class sounds and
    is visible. CATR uses the one best query; here all queries are combined:

        p_c(x) = L_c(x) / (1 + sum_c' L_c'(x)),   L_c(x) = sum_q exp(s_qc) sigmoid(m_q(x)),

    a softmax over log L and the background's 0. A binary head has one class, and log L is its
    logit. No pixel of a class is more probable than its sounding logit log sum_q exp(s_qc): with
    low scores, for silence or off-screen sounds, the mask is empty.

    Args:
        width: Channels of queries, audio and pixels.
        mask_width: Channels of the mask feature.
        num_queries: Q.
        num_objects: O, the classes without the background.
        layers: Decoder layers.
        heads: Attention heads.
        background: Whether the logits begin with a channel for the background.
    """

    def __init__(
        self,
        width: int,
        mask_width: int,
        num_queries: int,
        num_objects: int,
        layers: int,
        heads: int,
        background: bool,
    ) -> None:
        super().__init__()
        self.background = background
        self.queries = nn.Parameter(torch.randn(num_queries, width) * 0.5)
        self.code = nn.Parameter(torch.randn(num_queries, width) * 0.5)
        self.from_sound = nn.Linear(width, width)
        self.layers = nn.ModuleList(DecoderLayer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.embed = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, mask_width))
        self.score = nn.Linear(width, num_objects)
        # Training begins with an object probability of about 0.1 everywhere.
        nn.init.constant_(self.score.bias, math.log(0.2 / num_queries / num_objects))

    def forward(self, sound: Tensor, memory: Tensor, feature: Tensor) -> list[LayerPrediction]:
        """Predict the sounding objects, after each layer.

        Args:
            sound: Audio tokens of `FrameSound`, `[B, N, C]`.
            memory: Encoded pixels `[B, M, C]`.
            feature: Mask feature `[B, mask_width, h, w]`.
        """
        queries = self.queries + self.from_sound(sound[:, EMBEDDING_PLACE, None])
        predictions = []
        for layer in self.layers:
            queries = layer(queries, self.code, sound, memory)
            predictions.append(self._predict(self.norm(queries), feature))
        return predictions

    def _predict(self, queries: Tensor, feature: Tensor) -> LayerPrediction:
        embedding = self.embed(queries) * feature.shape[1] ** -0.5
        masks = einsum(embedding, feature, "b q c, b c h w -> b q h w").float()
        scores = self.score(queries).float().clamp(-20, 20)
        # Exponentials need the range of float32, also under autocast.
        with torch.autocast(masks.device.type, enabled=False):
            loud = einsum(scores.exp(), masks.sigmoid(), "b q o, b q h w -> b o h w")
        logits = (loud + _FLOOR).log()
        if self.background:
            logits = torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)
        return LayerPrediction(logits, rearrange(scores, "b q o -> b o q").logsumexp(-1))
