# Stage 1 on AVSS: PVT-v2-b5 and VGGish, both with released weights, which are downloaded.
# ResNet-50, the paper's other backbone, is avss_keyframes_r50; stage 1b, on keyframes,
# avss_keyframes_1b.
_base_ = ["_avsbench_keyframes.py"]

root = "data/AVSS"
model = dict(processor=dict(num_classes=71))
train_dataloader = dict(
    dataset=dict(type="AVSS", root=root, split="train", size=224, resize="crop")
)
val_dataloader = dict(dataset=dict(type="AVSS", root=root, split="val", size=224))
test_dataloader = dict(dataset=dict(type="AVSS", root=root, split="test", size=224))
val_evaluator = [dict(type="SemanticMetric", protocol="dataset"), dict(type="AlignmentMetric")]
test_evaluator = val_evaluator
