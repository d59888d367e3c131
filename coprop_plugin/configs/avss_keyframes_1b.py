# Stage 1b on AVSS: the Keyframe Processor of stage 1 (avss_keyframes) is fine-tuned on the frames
# that RCPG selects (section 3.3), in a file of `coprop anchor`: see docs/train_avsbench.md.
# provider="oracle" takes the true control points instead. Scores are of all frames.
# Of v1s, only the first frame of a training clip has a label: keyframes after it are left out.
_base_ = ["avss_keyframes.py"]

model = dict(
    _delete_=True,
    type="KeyframeTraining",
    weights="work_dirs/avss_keyframes/weights.safetensors",
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="Keyframes",
        dataset=dict(type="AVSS", root="data/AVSS", split="train", size=224, resize="crop"),
        provider="points/avss_train.json",
    )
)
