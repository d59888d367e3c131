# Stage 1b on S4 with ResNet-50, from s4_keyframes_r50.
_base_ = ["s4_keyframes_1b.py"]

model = dict(weights="work_dirs/s4_keyframes_r50/weights.safetensors")
