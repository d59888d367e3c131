"""Image backbones: maps of a frame at strides 4, 8, 16 and 32."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from coprop_plugin.errors import KeyframeError, UnknownNameError
from coprop_plugin.layers.backbones import PVT_V2, RESNETS, build_transformers_backbone
from coprop_plugin.layers.residual import ResidualBlock


class SmallBackbone(nn.Module):
    """A residual network for the CPU, to be trained from scratch.

    Group norm keeps a frame independent of the others of its batch while training, too.

    Args:
        widths: Channels of the four maps, in eights.
        depths: Residual blocks of the four stages.

    Raises:
        KeyframeError: If there are not four of each, or one is out of range.
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
                f"Got widths={list(widths)} and depths={list(depths)}; wanted four of each, widths "
                "in multiples of 8. Say widths=(32, 64, 128, 192), depths=(1, 2, 2, 1)."
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


def build_backbone(backbone: str | Mapping[str, Any]) -> nn.Module:
    """Build an image backbone from its name, or from a mapping with a `type` and options.

    Args:
        backbone: "small" (ours), "resnet18", "resnet50" or "pvt_v2_b0" to "pvt_v2_b5" (of
            transformers). Options are `SmallBackbone`'s arguments, or fields of a `ResNetConfig`
            or `PvtV2Config`. `pretrained` names weights for those: a folder, or a model of the
            Hugging Face hub, which is downloaded ("OpenGVLab/pvt_v2_b5").

    Raises:
        UnknownNameError: If there is no backbone of that name.
        CheckpointError: If `pretrained` weights cannot be had.

    Example:
        >>> build_backbone(dict(type="small", widths=(8, 16, 16, 24), depths=(1, 1, 1, 1))).widths
        (8, 16, 16, 24)
    """
    options = {"type": backbone} if isinstance(backbone, str) else dict(backbone)
    name = options.get("type")
    if name == "small":
        return SmallBackbone(**{k: v for k, v in options.items() if k != "type"})
    if name in PVT_V2 or name in RESNETS:
        return build_transformers_backbone(options)
    raise UnknownNameError(
        f"Got backbone {name!r}; there are small, {', '.join([*RESNETS, *PVT_V2])}. Name one "
        "of them, with options as `backbone=dict(type='small', depths=(1, 1, 1, 1))`."
    )
