# Stage 1b on AVSS with ResNet-50, from avss_keyframes_r50.
_base_ = ["avss_keyframes_1b.py"]

model = dict(weights="work_dirs/avss_keyframes_r50/weights.safetensors")
