"""A small image backbone: maps of a frame at strides 4, 8, 16 and 32."""

from collections.abc import Sequence

from torch import Tensor, nn

from coprop_plugin.errors import KeyframeError
from coprop_plugin.layers.residual import ResidualBlock


class SmallBackbone(nn.Module):
    """A residual network for the CPU, to be trained from scratch.

    Group norm keeps a frame independent of the others of its batch while training, too.

    Args:
        widths: Channels of the four maps, multiples of 8.
        depths: Residual blocks of the four stages.

    Raises:
        KeyframeError: If there are not four widths and four depths, or one is out of range.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 192),
        depths: Sequence[int] = (1, 2, 2, 1),
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        if [len(widths), len(depths)] != [4, 4] or any(w % 8 for w in widths) or min(depths) < 1:
            raise KeyframeError(
                f"Expected four widths, multiples of 8, and four depths, got "
                f"widths={list(widths)} and depths={list(depths)}. Use e.g. "
                "widths=(32, 64, 128, 192), depths=(1, 2, 2, 1)."
            )
        channels = widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False),
            nn.GroupNorm(8, channels),
            nn.ReLU(),
        )
        self.stages = nn.ModuleList()
        for width, depth in zip(widths, depths, strict=True):
            blocks = [ResidualBlock(channels, width, stride=2)]
            blocks += [ResidualBlock(width, width, stride=1) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
            channels = width

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Encode normalised frames [B, 3, H, W] into four maps [B, C, H / s, W / s]."""
        x, maps = self.stem(frames), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
