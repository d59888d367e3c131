"""CATR's mask features, from encoded pixels."""

from torch import Tensor, nn
from torch.nn.functional import interpolate


class MaskDecoder(nn.Module):
    """Decoder from encoded pixels at stride 8 to mask features at stride 16.

    Pixels are smoothed, subsampled to stride 32 to join the coarsest map, and enlarged to stride
    16 to join the next one: CATR uses the maps coarsest first.

    Args:
        width: Channels of pixels and maps, a multiple of 64.
        out: Channels of the mask features.
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        widths = [width, width, width // 2, width // 4, width // 8]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(into, wide, 3, padding=1), nn.GroupNorm(8, wide), nn.ReLU())
            for into, wide in zip(widths, widths[1:], strict=False)
        )
        self.beside = nn.ModuleList(nn.Conv2d(width, wide, 1) for wide in widths[2:4])
        self.leave = nn.Conv2d(widths[-1], out, 3, padding=1)

    def forward(self, pixels: Tensor, coarsest: Tensor, coarse: Tensor) -> Tensor:
        """Join pixels [N, C, h, w] with maps at strides 32 and 16; returns [N, out, H/16, W/16]."""
        feature = self.blocks[1](self.blocks[0](pixels))
        maps = (coarsest, coarse)
        for block, beside, other in zip(self.blocks[2:], self.beside, maps, strict=True):
            feature = block(beside(other) + interpolate(feature, other.shape[-2:], mode="nearest"))
        return self.leave(feature)
