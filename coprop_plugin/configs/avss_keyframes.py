# Stage 1 on AVSS: PVT-v2-b5 and VGGish, both with released weights, which are downloaded.
# ResNet-50, the paper's other backbone, is avss_keyframes_r50; stage 1b, on keyframes,
# avss_keyframes_1b.
_base_ = ["_avsbench_keyframes.py"]

model = dict(processor=dict(num_classes=71))
dataset = dict(type="AVSS", root="data/AVSS")
train_dataloader = dict(dataset=dict(**dataset, resize="crop"))
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_evaluator = [dict(type="SemanticMetric", protocol="dataset"), dict(type="AlignmentMetric")]
test_evaluator = val_evaluator
