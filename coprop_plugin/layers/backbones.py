"""Image backbones: maps of a frame at strides 4, 8, 16 and 32."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from coprop_plugin.errors import CheckpointError, UnknownNameError
from coprop_plugin.layers.small_backbone import SmallBackbone

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

# Layer norms of PVT-v2 whose eps is 1e-5 in its authors' code and in released AVS models; that of
# all others is 1e-6. transformers has 1e-6 for all.
_COARSE_NORMS, _COARSE_EPS = ("patch_embedding.layer_norm", "attention.layer_norm"), 1e-5


class TransformersBackbone(nn.Module):
    """A backbone of Hugging Face's transformers, with four stages.

    Attributes:
        widths: Channels of the four maps.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        channels: Any = model.channels
        self.widths: tuple[int, ...] = tuple(channels)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Encode normalised frames [B, 3, H, W] into four maps [B, C, H / s, W / s]."""
        return list(self.model(frames).feature_maps)


def build_backbone(
    backbone: str | Mapping[str, Any], *, as_released: bool = False
) -> SmallBackbone | TransformersBackbone:
    """Build an image backbone from its name, or from a mapping with a `type` and options.

    Args:
        backbone: "small" (ours), "resnet18", "resnet50" or "pvt_v2_b0" to "pvt_v2_b5" (of
            transformers). Options are `SmallBackbone`'s arguments, or fields of a `ResNetConfig`
            or `PvtV2Config`. `pretrained` names weights for those: a folder, or a model of the
            Hugging Face hub, which is downloaded ("OpenGVLab/pvt_v2_b5").
        as_released: Whether to compute exactly what the backbones of released AVS models do,
            whose layer norms are not all those of transformers.

    Returns:
        A module from normalised frames `[B, 3, H, W]` to four maps at strides 4 to 32, of `widths`
        channels; with random weights unless `pretrained` is given.

    Raises:
        UnknownNameError: If there is no backbone of that name.
        CheckpointError: If `pretrained` weights cannot be loaded.

    Example:
        >>> build_backbone(dict(type="small", widths=(8, 16, 16, 24), depths=(1, 1, 1, 1))).widths
        (8, 16, 16, 24)
        >>> tiny = dict(type="pvt_v2_b0", hidden_sizes=(8, 16, 20, 16), depths=(1, 1, 1, 1))
        >>> build_backbone(tiny).widths
        (8, 16, 20, 16)
    """
    options = {"type": backbone} if isinstance(backbone, str) else dict(backbone)
    name = options.pop("type", None)
    if name == "small":
        return SmallBackbone(**options)
    if name not in PVT_V2 and name not in RESNETS:
        raise UnknownNameError(
            f"{name!r} is not a backbone; expected one of small, "
            f"{', '.join([*RESNETS, *PVT_V2])}. Options come with the name in a mapping: "
            "`backbone=dict(type='small', depths=(1, 1, 1, 1))`."
        )
    built = _transformers_backbone(name, **options)
    if as_released:
        for path, module in built.named_modules():
            if isinstance(module, nn.LayerNorm) and path.endswith(_COARSE_NORMS):
                module.eps = _COARSE_EPS
    return built


def _transformers_backbone(
    name: str, pretrained: str | None = None, **options: Any
) -> TransformersBackbone:
    # Imported here because transformers takes seconds.
    from transformers import PvtV2Backbone, PvtV2Config, ResNetBackbone, ResNetConfig

    kind: Any = PvtV2Backbone if name in PVT_V2 else ResNetBackbone
    config_kind: Any = PvtV2Config if name in PVT_V2 else ResNetConfig
    fields = {**PVT_V2, **RESNETS}[name] | options
    config = config_kind(
        **{field: _listed(value) for field, value in fields.items()}, out_features=list(STAGES)
    )
    if pretrained is None:
        return TransformersBackbone(kind(config))
    try:
        return TransformersBackbone(kind.from_pretrained(pretrained, config=config))
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"The weights {pretrained!r} for the backbone {name!r} cannot be loaded: {error}. Give "
            "a folder with transformers' config.json and weights, or the name of a model of that "
            "size on the Hugging Face hub, which must be reachable."
        ) from error


def _listed(value: Any) -> Any:
    # Configs of mmengine and JSON bring tuples and lists; transformers compares with lists.
    return list(value) if isinstance(value, tuple) else value
