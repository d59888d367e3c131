# Stage 1b on MS3: the Keyframe Processor of stage 1 (ms3_keyframes) is fine-tuned on keyframes
# only, the first frames of the true segments (section 3.3); provider="novelty" uses the control
# points of that provider. Scores are of all frames.
_base_ = ["_avsbench_keyframes.py"]

root = "data/Multi-sources"
model = dict(
    _delete_=True,
    type="KeyframeTraining",
    weights="work_dirs/ms3_keyframes/weights.safetensors",
)
train_dataloader = dict(
    dataset=dict(type="Keyframes", dataset=dict(type="MS3", root=root, split="train", size=224))
)
val_dataloader = dict(dataset=dict(type="MS3", root=root, split="val", size=224))
test_dataloader = dict(dataset=dict(type="MS3", root=root, split="test", size=224))
