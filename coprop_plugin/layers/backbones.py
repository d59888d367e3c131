"""Image backbones of Hugging Face's transformers: maps of a frame at strides 4, 8, 16 and 32."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from coprop_plugin.errors import CheckpointError, UnknownNameError

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


class TransformersBackbone(nn.Module):
    """A backbone of Hugging Face's transformers, with four stages.

    Attributes:
        widths: Channels of the four maps.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.widths = tuple(model.channels)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Encode normalised frames [B, 3, H, W] into four maps [B, C, H / s, W / s]."""
        return list(self.model(frames).feature_maps)


def build_transformers_backbone(backbone: str | Mapping[str, Any]) -> TransformersBackbone:
    """Build one of transformers' backbones from its name, or from a mapping with a `type`.

    Args:
        backbone: "resnet18", "resnet50" or "pvt_v2_b0" to "pvt_v2_b5". Options are fields of a
            `ResNetConfig` or `PvtV2Config`. `pretrained` names weights: a folder, or a model of
            the Hugging Face hub, which is downloaded ("OpenGVLab/pvt_v2_b5").

    Raises:
        UnknownNameError: If there is no backbone of that name.
        CheckpointError: If `pretrained` weights cannot be had.

    Example:
        >>> tiny = dict(type="pvt_v2_b0", hidden_sizes=(8, 16, 20, 16), depths=(1, 1, 1, 1))
        >>> build_transformers_backbone(tiny).widths
        (8, 16, 20, 16)
    """
    options = {"type": backbone} if isinstance(backbone, str) else dict(backbone)
    name, pretrained = options.pop("type", None), options.pop("pretrained", None)
    if name not in PVT_V2 and name not in RESNETS:
        raise UnknownNameError(
            f"Got backbone {name!r}; there are {', '.join([*RESNETS, *PVT_V2])}. Name one of them, "
            "with options as `backbone=dict(type='resnet18', depths=(1, 1, 1, 1))`."
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
