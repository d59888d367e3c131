# Base of the AVSBench keyframe configs.
_base_ = ["_avsbench.py"]

model = dict(
    type="KeyframeTraining",
    processor=dict(
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
    dataset=dict(split="train", size=224),
    collate_fn=dict(type="coprop_plugin.labelled_frames"),
)
val_dataloader = dict(
    dataset=dict(split="val", size=224),
    collate_fn=dict(type="coprop_plugin.labelled_frames"),
)
test_dataloader = dict(
    dataset=dict(split="test", size=224),
    collate_fn=dict(type="coprop_plugin.labelled_frames"),
)
