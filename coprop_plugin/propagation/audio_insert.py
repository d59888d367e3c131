"""Eq. (6): the Audio-Insert Block."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coprop_plugin.propagation.attention import join_heads, split_heads


class AudioInsert(nn.Module):
    """Cross-attention from every pixel to the audio of its frame.

    Eq. (6) of Co-Prop: `F~ = Softmax(F W^Q (A W^K)^T / sqrt(d_head)) A W^V`, pixels F as queries,
    audio A as keys and values. Taken literally (`residual=False`) and with one audio token, the
    softmax over one key is 1 everywhere: every pixel gets the same vector, the image features are
    replaced by the audio, and W^Q and W^K have no gradient. With `residual=True` we differ:

    - F~ = F + W^O Attention(LayerNorm(F), A), where W^O and its bias start at zero, so a network
      trained without audio is unchanged until this block is trained. There is no gate beside W^O:
      with both at zero neither would ever get a gradient.
    - A learned null token is added to the audio tokens: pixels that are unrelated to the audio
      attend to it, and so do all pixels in silence.
    - W^Q maps to at most `max_inner` channels rather than all C.
    - A is several tokens per frame (see `SoundTokens`); W^K and W^V are D x (heads d_head), as A
      has D channels; the paper types them C x d_head.

    Args:
        width: C, the channels of the map.
        audio_width: D, the channels of an audio token.
        heads: Attention heads.
        residual: False for Eq. (6) to the letter.
        max_inner: Most channels of all heads together; with `residual=False` they are always C.
    """

    def __init__(
        self,
        width: int,
        audio_width: int,
        heads: int,
        residual: bool = True,
        max_inner: int = 256,
    ) -> None:
        super().__init__()
        inner = min(width, max_inner) if residual else width
        self.heads, self.residual = heads, residual
        self.query = nn.Linear(width, inner, bias=False)
        self.key = nn.Linear(audio_width, inner, bias=False)
        self.value = nn.Linear(audio_width, inner, bias=False)
        if residual:
            self.norm = nn.LayerNorm(width)
            self.null_token = nn.Parameter(torch.randn(1, 1, audio_width) * audio_width**-0.5)
            self.project = nn.Linear(inner, width)
            nn.init.zeros_(self.project.weight)
            nn.init.zeros_(self.project.bias)

    def forward(self, pixels: Tensor, sound: Tensor) -> Tensor:
        """Insert audio tokens [B, N, D] into pixels [B, H, W, C]; returns [B, H, W, C]."""
        change = self.attend(pixels, sound)
        return pixels + change if self.residual else change

    def attend(self, pixels: Tensor, sound: Tensor) -> Tensor:
        """Return the attended audio of each pixel, [B, H, W, C], before it is added."""
        if self.residual:
            pixels = self.norm(pixels)
            sound = torch.cat([self.null_token.expand(len(sound), -1, -1), sound], dim=1)
        attended = F.scaled_dot_product_attention(
            split_heads(self.query(pixels), self.heads),
            split_heads(self.key(sound)[:, None], self.heads),
            split_heads(self.value(sound)[:, None], self.heads),
        )
        attended = join_heads(attended, pixels.shape[1])
        return self.project(attended) if self.residual else attended
