# Stage 1 on MS3: PVT-v2-b5 and VGGish, both with released weights, which are downloaded.
# ResNet-50, the paper's other backbone, is ms3_keyframes_r50; stage 1b, on keyframes,
# ms3_keyframes_1b.
_base_ = ["_avsbench_keyframes.py"]

model = dict(processor=dict(num_classes=1))
dataset = dict(type="MS3", root="data/Multi-sources")
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
