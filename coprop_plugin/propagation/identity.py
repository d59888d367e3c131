"""ID embedding: the object of every pixel, as stored in memory."""

from typing import Any

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from coprop_plugin.propagation.audio_insert import AudioInsert
from coprop_plugin.propagation.geometry import STRIDE, one_hot

_PATCH: dict[str, Any] = dict(kernel_size=STRIDE + 1, stride=STRIDE, padding=STRIDE // 2)


class Identity(nn.Module):
    """ID embedding of a frame: from its masks, as in AOT, and from its audio.

    Section 3.4 "combines audio features and masks to generate these identities" without an
    equation. Here: `id_emb = bank(masks) + share * W^O Attention(LayerNorm(bank(masks)), A)`, the
    attention that of `AudioInsert` with W^O zero at the start, `share` the part of a token's
    pixels that belongs to an object; so the background gets no audio, and an object's audio enters
    the memory together with its identity.

    Args:
        width: C of the embedding.
        max_objects: Identities beside the background.
        audio_width: D of the audio tokens; None for identities from masks alone.
        heads: Attention heads.
    """

    def __init__(self, width: int, max_objects: int, audio_width: int | None, heads: int) -> None:
        super().__init__()
        self.max_objects = max_objects
        self.bank = nn.Conv2d(1 + max_objects, width, **_PATCH)
        self.audio = None if audio_width is None else AudioInsert(width, audio_width, heads)

    def forward(self, masks: Tensor, sound: Tensor | None) -> Tensor:
        """Embed object ids and audio tokens.

        Args:
            masks: `[B, H, W]` ids at the network's size, 0 the background. Ids above
                `max_objects` (255 for pixels to ignore) are neither object nor background.
            sound: Audio tokens `[B, N, D]` or None.

        Returns:
            `[B, H / 16, W / 16, C]`.
        """
        planes = one_hot(masks, self.max_objects).to(self.bank.weight.dtype)
        id_emb = rearrange(self.bank(planes), "b c h w -> b h w c")
        if self.audio is None or sound is None:
            return id_emb
        objects = F.avg_pool2d(planes[:, 1:].sum(1, keepdim=True), **_PATCH)
        share = rearrange(objects, "b c h w -> b h w c")
        return id_emb + share * self.audio.attend(id_emb, sound)
