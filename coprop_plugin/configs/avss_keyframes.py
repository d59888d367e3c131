# Stage 1 on AVSS: PVT-v2-b5 (backbone=dict(type="resnet50", pretrained="microsoft/resnet-50") is
# the paper's other one) and VGGish, both with their released weights, which are downloaded. For
# stage 1b, fine-tuning on keyframes, say model=dict(type="KeyframeTraining", weights="<stage 1>")
# and dataset=dict(type="Keyframes", dataset=<the data set below>).
_base_ = ["_avsbench.py"]

root = "data/AVSS"
model = dict(
    type="KeyframeTraining",
    processor=dict(
        num_classes=71,
        backbone=dict(type="pvt_v2_b5", pretrained="OpenGVLab/pvt_v2_b5"),
        audio_encoder="VGGish",
        width=256,
        mask_width=128,
        heads=8,
        input_size=(224, 224),
    ),
    vggish="released",
)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(type="AVSS", root=root, split="train", size=224, resize="crop"),
    collate_fn=dict(type="coprop_plugin.labelled_frames"),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="AVSS", root=root, split="val", size=224),
    collate_fn=dict(type="coprop_plugin.labelled_frames"),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="AVSS", root=root, split="test", size=224),
    collate_fn=dict(type="coprop_plugin.labelled_frames"),
)
val_evaluator = [dict(type="SemanticMetric", protocol="dataset"), dict(type="AlignmentMetric")]
test_evaluator = val_evaluator
