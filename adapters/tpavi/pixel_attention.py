"""The attention of TPAVI, in time and memory that grow with the pixels, not with their square."""

import torch
from einops import rearrange
from torch import Tensor, nn


class PixelSoundAttention(nn.Module):
    """Every pixel of a clip attends to the sound of all its frames.

    Eq. (2) of Zhou et al. (arXiv:2207.05042v3): with queries theta(x), keys phi(a) and values
    g(x), z_i = x_i + W (1 / N) sum_j theta(x_i) . phi(a_j) g(x_j), over all N pixels j of all
    frames; then a batch norm within W and a layer norm around all, as released.

    Nothing is normalised over j, so that the sum is a matrix that all pixels share. And the sound
    is one vector a frame, so that its sum over a frame's pixels is the frame's mean value:
    (1 / T) sum_t phi(a_t) g(mean of x_t)^T. The matrix of all pixels by all pixels is never built.

    Args:
        width: Channels of a pixel.
        audio_width: Channels of the sound.
        audio_bias: Whether the projection of the sound has a bias.
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
        # The model starts as if it were deaf, and what it sees is not disturbed.
        nn.init.zeros_(self.batch_norm.weight)

    def forward(
        self, x: Tensor, means: Tensor, audio: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Let the pixels of some frames attend to the clips that these are of.

        Args:
            x: `[K, C, H, W]`.
            means: `[b, t, C]`, of the pixels of every frame.
            audio: `[b, t, A]`.
            rows: `[K]`, which of the `(b t)` frames those of `x` are.

        Returns:
            `[K, C, H, W]`, and the projected sound `[b, t, C]`.
        """
        height, length = x.shape[-2], means.shape[1]
        sound = self.hear(audio)
        shared = torch.einsum("btk,btv->bkv", self.key(sound), self.value(means)) / length

        pixels = rearrange(x, "k c h w -> k (h w) c")
        mixed = self.project(self.query(pixels) @ shared[rows // length])
        mixed = self.batch_norm(mixed.flatten(0, 1)).view_as(pixels)
        pixels = self.layer_norm(mixed + pixels)
        return rearrange(pixels, "k (h w) c -> k c h w", h=height), sound
