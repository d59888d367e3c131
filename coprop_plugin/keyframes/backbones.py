"""Image backbones: maps of a frame at strides 4, 8, 16 and 32."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from coprop_plugin.errors import CheckpointError, KeyframeError, UnknownNameError

STAGES = ("stage1", "stage2", "stage3", "stage4")

_PVT_WIDE = dict(hidden_sizes=(64, 128, 320, 512))
PVT_V2: dict[str, dict[str, Any]] = {
    "pvt_v2_b0": dict(hidden_sizes=(32, 64, 160, 256), depths=(2, 2, 2, 2)),
    "pvt_v2_b1": dict(_PVT_WIDE, depths=(2, 2, 2, 2)),
    "pvt_v2_b2": dict(_PVT_WIDE, depths=(3, 4, 6, 3)),
    "pvt_v2_b3": dict(_PVT_WIDE, depths=(3, 4, 18, 3)),
    "pvt_v2_b4": dict(_PVT_WIDE, depths=(3, 8, 27, 3)),
    "pvt_v2_b5": dict(_PVT_WIDE, depths=(3, 6, 40, 3), mlp_ratios=(4, 4, 4, 4)),
}
"""What the sizes of PVT-v2 (Wang et al., arXiv:2106.13797v7) set in a `PvtV2Config`."""

RESNETS: dict[str, dict[str, Any]] = {
    "resnet18": dict(layer_type="basic", hidden_sizes=(64, 128, 256, 512), depths=(2, 2, 2, 2)),
    "resnet50": dict(hidden_sizes=(256, 512, 1024, 2048), depths=(3, 4, 6, 3)),
}
"""What the sizes of ResNet set in a `ResNetConfig`."""


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


class TransformersBackbone(nn.Module):
    """A backbone of Hugging Face's transformers, with four stages."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.widths = tuple(model.channels)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Encode normalised frames [B, 3, H, W] into four maps [B, C, H / s, W / s]."""
        return list(self.model(frames).feature_maps)


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
    name, pretrained = options.pop("type", None), options.pop("pretrained", None)
    if name == "small":
        return SmallBackbone(**options)
    if name not in PVT_V2 and name not in RESNETS:
        raise UnknownNameError(
            f"Got backbone {name!r}; there are small, {', '.join([*RESNETS, *PVT_V2])}. Name one "
            "of them, with options as `backbone=dict(type='small', depths=(1, 1, 1, 1))`."
        )
    # Imported here because transformers takes seconds.
    from transformers import PvtV2Backbone, PvtV2Config, ResNetBackbone, ResNetConfig

    if name in PVT_V2:
        kind, config = PvtV2Backbone, PvtV2Config
    else:
        kind, config = ResNetBackbone, ResNetConfig
    fields = {**PVT_V2, **RESNETS}[name] | options
    config = config(**{k: _listed(v) for k, v in fields.items()}, out_features=list(STAGES))
    if pretrained is None:
        return TransformersBackbone(kind(config))
    try:
        return TransformersBackbone(kind.from_pretrained(pretrained, config=config))
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"The weights {pretrained!r} for the backbone {name!r} cannot be had: {error}. Give a "
            "folder with transformers' config.json and weights, or the name of a model of that "
            "size on the Hugging Face hub, with a connection to it."
        ) from error


def _listed(value: Any) -> Any:
    # Configs of mmengine and JSON bring tuples and lists; transformers compares with lists.
    return list(value) if isinstance(value, tuple) else value
