# Stage 1b on MS3 with ResNet-50, from ms3_keyframes_r50.
_base_ = ["ms3_keyframes_1b.py"]

model = dict(weights="work_dirs/ms3_keyframes_r50/weights.safetensors")
