"""Residual convolutions that are trained from scratch."""

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with group norm around a shortcut."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride, padding=1, bias=False),
            nn.GroupNorm(8, out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            nn.GroupNorm(8, out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, out, H / stride, W / stride], sizes rounded up."""
        return self.activation(self.shortcut(x) + self.layers(x))
