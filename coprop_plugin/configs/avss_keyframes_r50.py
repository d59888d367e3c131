# Stage 1 on AVSS with ResNet-50, from its released weights, which are downloaded.
_base_ = ["avss_keyframes.py"]

model = dict(
    processor=dict(backbone=dict(_delete_=True, type="resnet50", pretrained="microsoft/resnet-50"))
)
