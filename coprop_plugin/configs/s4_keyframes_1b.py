# Stage 1b on S4: the Keyframe Processor of stage 1 (s4_keyframes) is fine-tuned on the frames
# that RCPG selects (section 3.3), in a file of `coprop anchor`: see docs/train_avsbench.md.
# provider="oracle" takes the true control points instead. Scores are of all frames.
# Only the first frame of a training clip has a label, so keyframes after it are left out.
_base_ = ["s4_keyframes.py"]

model = dict(
    _delete_=True,
    type="KeyframeTraining",
    weights="work_dirs/s4_keyframes/weights.safetensors",
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="Keyframes",
        dataset=dict(type="S4", root="data/Single-source", split="train", size=224),
        provider="points/s4_train.json",
    )
)
