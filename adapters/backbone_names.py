"""Image backbones of released AVS models, and the names of their weights."""

from coprop_plugin.adapters.released import Row, Shapes

_STEM = r"model.embedder.embedder."
_LAYER = r"model.encoder.stages.{stage}.layers.\1."
RESNET_NAMES: list[Row] = [
    (r"conv1\.", _STEM + "convolution."),
    (r"bn1\.", _STEM + "normalization."),
    *(
        (rf"layer{stage + 1}{branch}\.(\d+)\.{part}", _LAYER.format(stage=stage) + ours)
        for stage, branch in enumerate(("", "", "(?:_1)?", "(?:_1)?"))
        for part, ours in (
            *((rf"conv{n + 1}\.", f"layer.{n}.convolution.") for n in range(3)),
            *((rf"bn{n + 1}\.", f"layer.{n}.normalization.") for n in range(3)),
            (r"downsample\.0\.", "shortcut.convolution."),
            (r"downsample\.1\.", "shortcut.normalization."),
        )
    ),
    # A second branch, left over from a salient-object model that this ResNet was written for.
    (r"layer[34]_2\.", None),
]
"""Rows for ResNet-50 as in all three released code bases; `under` adds a prefix."""


def _pvt_rows(stage: int) -> list[Row]:
    layer = f"model.encoder.layers.{stage}."
    block = layer + r"blocks.\1."
    return [
        (rf"patch_embed{stage + 1}\.proj\.", layer + "patch_embedding.proj."),
        (rf"patch_embed{stage + 1}\.norm\.", layer + "patch_embedding.layer_norm."),
        (rf"norm{stage + 1}\.", layer + "layer_norm."),
        *(
            (rf"block{stage + 1}\.(\d+)\.{part}\.", block + ours)
            for part, ours in (
                ("norm1", "layer_norm_1."),
                ("norm2", "layer_norm_2."),
                (r"attn\.q", "attention.query."),
                (r"attn\.proj", "attention.proj."),
                (r"attn\.sr", "attention.spatial_reduction."),
                (r"attn\.norm", "attention.layer_norm."),
                (r"mlp\.fc1", "mlp.dense1."),
                (r"mlp\.dwconv\.dwconv", "mlp.dwconv.dwconv."),
                (r"mlp\.fc2", "mlp.dense2."),
            )
        ),
        (
            rf"block{stage + 1}\.(\d+)\.attn\.kv\.",
            (block + "attention.key.", block + "attention.value."),
        ),
    ]


PVT_NAMES: list[Row] = [row for stage in range(4) for row in _pvt_rows(stage)]
"""Rows for PVT-v2 as in all three released code bases; `under` adds a prefix."""


def recognise_backbone(shapes: Shapes, prefix: str) -> str | None:
    """Detect the backbone of a released file under `prefix`; None if it is unknown.

    Parameters of another size are reported by name when they are loaded.
    """
    if f"{prefix}patch_embed1.proj.weight" in shapes:
        return "pvt_v2_b5"
    if f"{prefix}layer1.0.conv3.weight" in shapes:
        return "resnet50"
    return None
