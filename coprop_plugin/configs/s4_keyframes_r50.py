# Stage 1 on S4 with ResNet-50, from its released weights, which are downloaded.
_base_ = ["s4_keyframes.py"]

model = dict(
    processor=dict(backbone=dict(_delete_=True, type="resnet50", pretrained="microsoft/resnet-50"))
)
