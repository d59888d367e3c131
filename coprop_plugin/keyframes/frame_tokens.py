"""Audio tokens of a frame, or tokens of words, for the Keyframe Processor."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from coprop_plugin.audio.text_encoder import TextEncoder
from coprop_plugin.errors import KeyframeError
from coprop_plugin.types import AudioEncoder

MAP_SIZE = (6, 4)
"""Times and bands of an audio encoder's map of one log-mel example [96, 64]."""

EMBEDDING_PLACE = -2
"""Place of the embedding's token; the last one is the null token."""


class FrameWords(nn.Module):
    """Tokens of the sounding categories in the place of the audio tokens: text guidance (Table 4).

    One per category, one for their mean, and a learned null token. The text encoder is frozen, and
    not part of the weights.

    Args:
        width: D, the channels of a token.
        **text: Options of `TextEncoder`.
    """

    def __init__(self, width: int, **text: Any) -> None:
        super().__init__()
        self.texts = TextEncoder(**text, error=KeyframeError)
        self.from_text = nn.Linear(self.texts.embedding_dim, width)
        self.null_token = nn.Parameter(torch.randn(1, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, words: Sequence[Sequence[str]]) -> Tensor:
        """Compute tokens [B, N + 2, D] of the names for each frame, N for all of them."""
        named = torch.stack([self.texts.embed(names) for names in words])
        tokens = self.from_text(named.to(self.from_text.weight))
        null = self.null_token.expand(len(words), -1, -1)
        return self.norm(torch.cat([tokens, tokens.mean(1, keepdim=True), null], dim=1))


class FrameSound(nn.Module):
    """Several audio tokens for each frame, where section 3.3 has one feature, F_a.

    One for each of the 6 x 4 places of the encoder's map, with learned codes of time and frequency;
    one for the embedding; and a learned null token, the same for all audio. The codes of time let
    a pixel prefer the end of the example, the time of the frame, to audio 0.9 s earlier.

    Args:
        encoder: The audio encoder.
        width: D, the channels of a token.
    """

    def __init__(self, encoder: AudioEncoder, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.from_map = nn.Linear(encoder.map_channels, width)
        self.from_embedding = nn.Linear(encoder.embedding_dim, width)
        self.time_code = nn.Parameter(torch.randn(MAP_SIZE[0], width) * 0.5)
        self.band_code = nn.Parameter(torch.randn(MAP_SIZE[1], width) * 0.5)
        self.null_token = nn.Parameter(torch.randn(1, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Compute tokens [B, 26, D] of log-mel examples [B, 1, 96, 64]."""
        conv_map = self.encoder.conv_map(log_mel)
        embedding = self.encoder.embed(conv_map)
        place = self.time_code[:, None] + self.band_code
        of_map = self.from_map(rearrange(conv_map, "b c time band -> b time band c")) + place
        of_embedding = self.from_embedding(F.layer_norm(embedding, embedding.shape[1:]))
        null = self.null_token.expand(len(log_mel), -1, -1)
        return self.norm(torch.cat([of_map.flatten(1, 2), of_embedding[:, None], null], dim=1))
