# Stage 1b on MS3: the Keyframe Processor of stage 1 (ms3_keyframes) is fine-tuned on the frames
# that RCPG selects (section 3.3), in a file of `coprop anchor`: see docs/train_avsbench.md.
# provider="oracle" takes the true control points instead. Scores are of all frames.
_base_ = ["ms3_keyframes.py"]

model = dict(
    _delete_=True,
    type="KeyframeTraining",
    weights="work_dirs/ms3_keyframes/weights.safetensors",
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="Keyframes",
        dataset=dict(type="MS3", root="data/Multi-sources", split="train", size=224),
        provider="points/ms3_train.json",
    )
)
