# Stage 2 on AVSS: AOT-Large with ResNet-50, from its released weights. Download them to aot_weights
# first: "R50_AOTL" in AOT's model zoo. Audio is inserted into four layers (Table 5). Clips are the
# segments between true control points, of two frames or more.
# Of v1s, only one frame of each training clip is labelled, so clips are generated from it; see
# affine_clips.
_base_ = ["_avsbench_propagator.py"]

custom_imports = dict(
    imports=[
        "coprop_plugin.training.models",
        "coprop_plugin.training.batches",
        "coprop_plugin.training.affine_clips",
    ]
)
root = "data/AVSS"
train_dataloader = dict(
    dataset=dict(
        type="Segments",
        dataset=dict(type="AVSS", root=root, split="train", size=224),
    ),
    collate_fn=dict(type="coprop_plugin.affine_clips"),
)
val_dataloader = dict(
    dataset=dict(
        type="Segments",
        dataset=dict(type="AVSS", root=root, split="val", size=224),
    ),
)
test_dataloader = dict(
    dataset=dict(
        type="Segments",
        dataset=dict(type="AVSS", root=root, split="test", size=224),
    ),
)
val_evaluator = [dict(type="SemanticMetric", protocol="dataset"), dict(type="AlignmentMetric")]
test_evaluator = val_evaluator
