"""Released TPAVI checkpoints: detection, and our names of their weights."""

from typing import Any

from coprop_plugin.adapters.backbone_names import (
    PVT_NAMES,
    RESNET_NAMES,
    recognise_backbone,
)
from coprop_plugin.adapters.released import Family, Row, Shapes, under
from coprop_plugin.adapters.tpavi.tpavi_model import TPAVI

_BACKBONES = {"resnet50": "resnet.", "pvt_v2_b5": "encoder_backbone."}

_NAMES: list[Row] = [
    *under(RESNET_NAMES, r"resnet\.", "backbone."),
    *under(PVT_NAMES, r"encoder_backbone\.", "backbone."),
    # The decoder begins with its coarsest map, which has nothing to join.
    (r"path4\.resConfUnit1\.", None),
    *(
        (released.format(level + 1), ours.format(level))
        for level in range(4)
        for released, ours in (
            (r"conv{}\.conv2d_list\.", "reduce.{}.branches."),
            (r"path{}\.resConfUnit1\.conv1\.", "merge.{}.lateral.first."),
            (r"path{}\.resConfUnit1\.conv2\.", "merge.{}.lateral.second."),
            (r"path{}\.resConfUnit2\.conv1\.", "merge.{}.refine.first."),
            (r"path{}\.resConfUnit2\.conv2\.", "merge.{}.refine.second."),
            (r"tpavi_b{}\.align_channel\.", "attention.{}.hear."),
            (r"tpavi_b{}\.theta\.", "attention.{}.query."),
            (r"tpavi_b{}\.phi\.", "attention.{}.key."),
            (r"tpavi_b{}\.g\.", "attention.{}.value."),
            (r"tpavi_b{}\.W_z\.0\.", "attention.{}.project."),
            (r"tpavi_b{}\.W_z\.1\.", "attention.{}.batch_norm."),
            (r"tpavi_b{}\.norm_layer\.", "attention.{}.layer_norm."),
        )
    ),
    (r"output_conv\.0\.", "head.enter."),
    (r"output_conv\.2\.", "head.narrow."),
    (r"output_conv\.4\.", "head.leave."),
]


def _recognise(shapes: Shapes) -> dict[str, Any] | None:
    head, attention = "output_conv.4.weight", "tpavi_b1.theta.weight"
    # CATR has the same decoder, without the attention.
    if not {head, attention} <= shapes.keys():
        return None
    for backbone, prefix in _BACKBONES.items():
        if recognise_backbone(shapes, prefix) == backbone:
            return dict(
                num_classes=shapes[head][0],
                backbone=backbone,
                audio_bias="tpavi_b1.align_channel.bias" in shapes,
            )
    return None


FAMILY = Family("tpavi", TPAVI, _recognise, _NAMES)
