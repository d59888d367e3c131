"""A small audio encoder with VGGish's interface."""

import torch
from torch import Tensor, nn

from coprop_plugin.audio.log_mel import SILENCE
from coprop_plugin.registry import MODELS


@MODELS.register_module(name=["SmallLogMelEncoder", "small_log_mel"])
class SmallLogMelEncoder(nn.Module):
    """A small audio encoder with VGGish's interface, trained together with its network.

    Four times convolution, group norm, ReLU and 2x2 max-pool.

    Args:
        width: Channels after the first layer; they double to `map_channels` = 8 width.
        embedding_dim: Channels of the embedding.

    Example:
        >>> encoder = SmallLogMelEncoder(width=8)
        >>> encoder.conv_map(torch.zeros(2, 1, 96, 64)).shape
        torch.Size([2, 64, 6, 4])
    """

    def __init__(self, width: int = 16, embedding_dim: int = 128) -> None:
        super().__init__()
        self.map_channels, self.embedding_dim = 8 * width, embedding_dim
        layers: list[nn.Module] = []
        channels = 1
        for out in (width, 2 * width, 4 * width, 8 * width):
            layers += [
                nn.Conv2d(channels, out, 3, padding=1, bias=False),
                nn.GroupNorm(4, out),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
            channels = out
        self.layers = nn.Sequential(*layers)
        self.project = nn.Linear(2 * channels, embedding_dim)

    def conv_map(self, log_mel: Tensor) -> Tensor:
        """Encode log-mel examples [N, 1, 96, 64] into maps [N, 8 width, 6, 4]."""
        # The padding is zero, so silence must be zero, too.
        return self.layers(log_mel - SILENCE)

    def embed(self, conv_map: Tensor) -> Tensor:
        """Embed maps [N, 8 width, 6, 4]; returns [N, embedding_dim]."""
        flat = conv_map.flatten(2)
        return self.project(torch.cat([flat.mean(2), flat.amax(2)], dim=1))
