"""Image backbones: maps of a frame at strides 4, 8, 16 and 32."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from coprop_plugin.errors import UnknownNameError
from coprop_plugin.layers.backbones import PVT_V2, RESNETS, build_transformers_backbone
from coprop_plugin.layers.small_backbone import SmallBackbone


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
