# Stage 1 on MS3: PVT-v2-b5 and VGGish, both with released weights, which are downloaded.
# ResNet-50, the paper's other backbone, is ms3_keyframes_r50; stage 1b, on keyframes,
# ms3_keyframes_1b.
_base_ = ["_avsbench_keyframes.py"]

root = "data/Multi-sources"
model = dict(processor=dict(num_classes=1))
train_dataloader = dict(dataset=dict(type="MS3", root=root, split="train", size=224))
val_dataloader = dict(dataset=dict(type="MS3", root=root, split="val", size=224))
test_dataloader = dict(dataset=dict(type="MS3", root=root, split="test", size=224))
