"""Released CATR checkpoints: detection, our names of their weights, and unused weights."""

import re
from typing import Any

from coprop_plugin.adapters.backbone_names import (
    PVT_NAMES,
    RESNET_NAMES,
    recognise_backbone,
)
from coprop_plugin.adapters.catr.catr_model import CATR
from coprop_plugin.adapters.catr.clip_encoder import LAYERS
from coprop_plugin.adapters.released import Family, Row, Shapes, under

_FRAME_LAYER = r"transformer\.spatial_encoder\.layers\.(\d+)\."
_CLIP = r"transformer\.temporal_encoder\."
_CLIP_LAYER = _CLIP + r"layers\.(\d+)\."
_DECODER = r"transformer\.decoder\."
_DECODER_LAYER = _DECODER + r"layers\.(\d+)\."

_DEAD = (
    # For a map that the mask decoder does not use, and for an earlier decoder.
    r"conv1\.",
    r"path\d\.",
    r"fusion_module\.",
    _CLIP + r"(?:av|va)_atten\.",
    # In every fusion, of a size that fits 448 pixels only.
    _CLIP_LAYER + r"(?:av|va)_atten\.vid_embed_proj\.",
    # The audio output of the last layer, and layers after those that the gates join.
    _CLIP + rf"layers\.{LAYERS - 1}\.va_atten\.",
    _CLIP + rf"layers\.(?:[{LAYERS}-9]|\d\d+)\.",
)
_ENCODER_PARTS = (
    (r"self_attn\.", "among."),
    (r"norm1\.", "among_norm."),
    (r"linear1\.", "feed_forward.expand."),
    (r"linear2\.", "feed_forward.contract."),
    (r"norm2\.", "feed_forward_norm."),
)
_DECODER_PARTS = (
    *_ENCODER_PARTS[:-1],
    (r"multihead_attn\.", "at_memory."),
    (r"norm2\.", "at_memory_norm."),
    (r"norm3\.", "feed_forward_norm."),
)

NAMES: list[Row] = [
    *((pattern, None) for pattern in _DEAD),
    *under(PVT_NAMES, r"encoder_backbone\.", "backbone."),
    # Only the class with PVT is published; that with ResNet-50, which it names, is as TPAVI's.
    *under(RESNET_NAMES, r"resnet\.", "backbone."),
    *((rf"conv{level + 2}\.conv2d_list\.", f"reduce.{level}.branches.") for level in range(3)),
    (r"vid_embed_proj\.", "enter."),
    (r"transformer\.audio_proj\.fc\.", "hear.project."),
    (r"transformer\.audio_proj\.layer_norm\.", "hear.norm."),
    *((_FRAME_LAYER + theirs, r"frame_layers.\1." + ours) for theirs, ours in _ENCODER_PARTS),
    *(
        (_CLIP_LAYER + theirs, r"clip_encoder.layers.\1.in_frame." + ours)
        for theirs, ours in _ENCODER_PARTS
    ),
    (_CLIP_LAYER + r"av_atten\.multihead_attn\.", r"clip_encoder.layers.\1.hear.attention."),
    (_CLIP_LAYER + r"va_atten\.multihead_attn\.", r"clip_encoder.layers.\1.look.attention."),
    (_CLIP + r"attention_feature\.0\.", "clip_encoder.gate."),
    (_CLIP + r"output1\.", "clip_encoder.first."),
    (_CLIP + r"output2\.", "clip_encoder.second."),
    (r"obj_queries\.weight$", "decoder.code"),
    *((_DECODER_LAYER + theirs, r"decoder.layers.\1." + ours) for theirs, ours in _DECODER_PARTS),
    (_DECODER + r"norm\.", "decoder.norm."),
    *(
        (rf"spatial_decoder\.{theirs}{level + 1}\.", f"mask_decoder.blocks.{level}.{number}.")
        for level in range(4)
        for number, theirs in enumerate(("lay", "gn"))
    ),
    *((rf"spatial_decoder\.adapter{n + 1}\.", f"mask_decoder.beside.{n}.") for n in range(2)),
    (r"spatial_decoder\.out_lay\.", "mask_decoder.leave."),
    (r"instance_kernels_head\.layers\.0\.", "kernel.0."),
    (r"instance_kernels_head\.layers\.1\.", "kernel.2."),
    (r"is_referred_head\.", "score."),
]


def recognise(shapes: Shapes) -> dict[str, Any] | None:
    """Return the sizes of the network from CATR's weights; None if they are not CATR's.

    The number of heads is not in the weights: 8, as between pixels and audio in the released code.
    """
    prefixes = ("encoder_backbone.", "resnet.")
    backbone = next(filter(None, (recognise_backbone(shapes, prefix) for prefix in prefixes)), None)
    queries = shapes.get("obj_queries.weight", ())
    if backbone is None or len(queries) != 2 or "is_referred_head.weight" not in shapes:
        return None

    def rows(name: str, otherwise: int) -> int:
        return shapes.get(name, (otherwise,))[0]

    return dict(
        backbone=backbone,
        num_queries=queries[0],
        width=queries[1],
        hidden=rows("transformer.spatial_encoder.layers.0.linear1.weight", 2048),
        clip_hidden=rows("transformer.temporal_encoder.layers.0.linear1.weight", 2048),
        layers=_layers(_FRAME_LAYER, shapes),
        decoder_layers=_layers(_DECODER_LAYER, shapes),
        mask_width=rows("spatial_decoder.out_lay.weight", 64),
    )


def _layers(pattern: str, shapes: Shapes) -> int:
    return len({match[1] for name in shapes if (match := re.match(pattern, name))})


FAMILY = Family("catr", CATR, recognise, NAMES)
