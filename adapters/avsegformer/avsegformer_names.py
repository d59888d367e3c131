"""Released AVSegFormer checkpoints: detection, and our names of their weights."""

from typing import Any

from coprop_plugin.adapters.avsegformer.avsegformer_model import AVSegFormer
from coprop_plugin.adapters.backbone_names import (
    PVT_NAMES,
    RESNET_NAMES,
    recognise_backbone,
)
from coprop_plugin.adapters.released import Family, Row, Shapes, under

_THIRDS = ("query", "key", "value")


def _attention(released: str, ours: str) -> list[Row]:
    """Rows of an attention whose query, key and value maps are one matrix in the file."""
    return [
        (rf"{released}in_proj_{kind}$", tuple(f"{ours}{third}.{kind}" for third in _THIRDS))
        for kind in ("weight", "bias")
    ] + [(rf"{released}out_proj\.", f"{ours}project.")]


def _norms(released: str, ours: str, count: int) -> list[Row]:
    return [(rf"{released}norm{n + 1}\.", f"{ours}norms.{n}.") for n in range(count)]


_LISTENING = r"head\.query_generator\.layers\.(\d+)\."
_ENCODER = r"head\.transformer\.encoder\.layers\.(\d+)\."
_DECODER = r"head\.transformer\.decoder\.layers\.(\d+)\."
_OWN_LISTENING, _OWN_ENCODER, _OWN_DECODER = (
    rf"{place}.\1." for place in ("queries.listening", "encoder.layers", "queries.looking")
)

NAMES: list[Row] = [
    *under(RESNET_NAMES, r"backbone\.", "backbone."),
    *under(PVT_NAMES, r"backbone\.", "backbone."),
    (r"vggish\.(features|embeddings)\.", r"audio_encoder.\1."),
    (r"audio_proj\.", "project_audio."),
    (r"head\.in_proj\.0\.", "mask_feature.reduce."),
    *((rf"head\.in_proj\.{n + 1}\.", f"encoder.reduce.{n}.") for n in range(3)),
    (r"head\.level_embed$", "encoder.level_code"),
    (rf"{_ENCODER}self_attn\.sampling_offsets\.", f"{_OWN_ENCODER}attention.offsets."),
    (rf"{_ENCODER}self_attn\.attention_weights\.", f"{_OWN_ENCODER}attention.weights."),
    (rf"{_ENCODER}self_attn\.value_proj\.", f"{_OWN_ENCODER}attention.value."),
    (rf"{_ENCODER}self_attn\.output_proj\.", f"{_OWN_ENCODER}attention.project."),
    *_norms(_ENCODER, _OWN_ENCODER, 2),
    (r"head\.query_generator\.query\.weight$", "queries.listeners"),
    (r"head\.learnable_query\.weight$", "queries.learned"),
    *_attention(rf"{_LISTENING}self_attn\.", f"{_OWN_LISTENING}among."),
    # Queries and keys of a softmax over one key: see `ListeningLayer`.
    (rf"{_LISTENING}cross_attn\.in_proj_weight$", (None, None, f"{_OWN_LISTENING}hear.weight")),
    (rf"{_LISTENING}cross_attn\.out_proj\.", f"{_OWN_LISTENING}project."),
    (rf"{_LISTENING}ffn\.0\.", f"{_OWN_LISTENING}feed_forward.0."),
    (rf"{_LISTENING}ffn\.2\.", f"{_OWN_LISTENING}feed_forward.3."),
    *_norms(_LISTENING, _OWN_LISTENING, 3),
    *_attention(rf"{_DECODER}self_attn\.", f"{_OWN_DECODER}among."),
    *_attention(rf"{_DECODER}cross_attn\.", f"{_OWN_DECODER}at_pixels."),
    *_norms(_DECODER, _OWN_DECODER, 3),
    *(
        (rf"{released}linear{n + 1}\.", f"{ours}feed_forward.{place}.")
        for released, ours in ((_ENCODER, _OWN_ENCODER), (_DECODER, _OWN_DECODER))
        for n, place in enumerate((0, 3))
    ),
    (r"head\.lateral_conv\.", "mask_feature.lateral."),
    (r"head\.out_conv\.", "mask_feature.smooth."),
    (r"head\.fusion_block\.q_proj\.", "mask_feature.gate.query."),
    (
        r"head\.fusion_block\.kv_proj\.",
        ("mask_feature.gate.key.", "mask_feature.gate.value."),
    ),
    (r"head\.fusion_block\.proj\.", "mask_feature.gate.project."),
    (r"head\.mlp\.layers\.(\d)\.", r"masks.mix.\1."),
    (r"head\.fc\.0\.", "masks.coarse."),
    (r"head\.fc\.2\.", "masks.fine."),
    (r"head\.fc\.4\.", "masks.classify."),
    # A pyramid and a mask head of query attention, which the released forward does not use.
    (r"head\.(fpn|attn_fc)\.", None),
]


def recognise(shapes: Shapes) -> dict[str, Any] | None:
    """Read the arguments of `AVSegFormer` from a released file's names and shapes."""
    backbone = recognise_backbone(shapes, "backbone.")
    told = ("head.fc.4.weight", "head.learnable_query.weight", "head.query_generator.query.weight")
    if backbone is None or any(name not in shapes for name in told):
        return None
    num_queries, width = shapes["head.learnable_query.weight"]
    num_classes = shapes["head.fc.4.weight"][0]
    return dict(
        num_classes=num_classes,
        backbone=backbone,
        width=width,
        num_queries=num_queries,
        # AVSS has clips of ten seconds.
        clip_length=5 if num_classes == 1 else 10,
    )


FAMILY = Family("avsegformer", AVSegFormer, recognise, NAMES)
