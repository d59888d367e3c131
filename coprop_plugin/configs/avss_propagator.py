# Stage 2 on AVSS: AOT-Large with ResNet-50, begun with its released weights. Save them to
# aot_weights first: "R50_AOTL" in AOT's model zoo. Sound enters four layers (Table 5).
_base_ = ["_avsbench.py"]

root = "data/AVSS"
model = dict(
    type="PropagatorTraining",
    propagator=dict(insert_layers=(0, 1, 2, 3), audio_encoder="VGGish"),
    aot_weights="data/R50_AOTL_PRE_YTB_DAV.pth",
    vggish="released",
    freeze_encoder=True,
)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(type="AVSS", root=root, split="train", size=224),
    collate_fn=dict(type="coprop_plugin.sounding_clips"),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="AVSS", root=root, split="val", size=224),
    collate_fn=dict(type="coprop_plugin.sounding_clips"),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="AVSS", root=root, split="test", size=224),
    collate_fn=dict(type="coprop_plugin.sounding_clips"),
)
val_evaluator = [dict(type="MaskMetric"), dict(type="AlignmentMetric")]
test_evaluator = val_evaluator
