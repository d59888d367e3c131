"""TPAVI's attention, with time and memory linear in the number of pixels."""

import torch
from einops import rearrange
from torch import Tensor, nn


class PixelSoundAttention(nn.Module):
    """Attention from every pixel of a clip to the audio of all its frames.

    Eq. (2) of Zhou et al. (arXiv:2207.05042v3): with queries theta(x), keys phi(a) and values
    g(x), z_i = x_i + W (1 / N) sum_j theta(x_i) . phi(a_j) g(x_j), over all N pixels j of all
    frames; then a batch norm within W and a layer norm around all, as released.

    Nothing is normalised over j, so the sum is a matrix that all pixels share. And the audio is one
    vector per frame, so its sum over a frame's pixels is the frame's mean value:
    (1 / T) sum_t phi(a_t) g(mean of x_t)^T. The matrix of all pixels by all pixels is never built.

    Args:
        width: Channels of a pixel.
        audio_width: Channels of the audio embedding.
        audio_bias: Whether the projection of the audio has a bias.
    """

    def __init__(self, width: int, audio_width: int = 128, audio_bias: bool = True) -> None:
        super().__init__()
        inner = width // 2
        self.hear = nn.Linear(audio_width, width, bias=audio_bias)
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(width, inner)
        self.value = nn.Linear(width, inner)
        self.project = nn.Linear(inner, width)
        self.batch_norm = nn.BatchNorm1d(width)
        self.layer_norm = nn.LayerNorm(width)
        # The block starts as the identity, without audio.
        nn.init.zeros_(self.batch_norm.weight)

    def forward(
        self, x: Tensor, means: Tensor, audio: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attend from the pixels of some frames to the audio of their clips.

        Args:
            x: `[K, C, H, W]`.
            means: `[b, t, C]`, mean over the pixels of every frame.
            audio: `[b, t, A]`.
            rows: `[K]`, the places of the frames of `x` among the `(b t)` frames.

        Returns:
            `[K, C, H, W]`, and the projected audio `[b, t, C]`.
        """
        height, length = x.shape[-2], means.shape[1]
        sound = self.hear(audio)
        shared = torch.einsum("btk,btv->bkv", self.key(sound), self.value(means)) / length

        pixels = rearrange(x, "k c h w -> k (h w) c")
        mixed = self.project(self.query(pixels) @ shared[rows // length])
        mixed = self.batch_norm(mixed.flatten(0, 1)).view_as(pixels)
        pixels = self.layer_norm(mixed + pixels)
        return rearrange(pixels, "k (h w) c -> k c h w", h=height), sound
