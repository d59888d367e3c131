# The 4-layer variant of Table 5: the default propagator, with audio inserted into every map of the
# encoder instead of the last only; 300 more steps.
_base_ = ["world_propagator_small.py"]

num_steps = 300
model = dict(
    _delete_=True,
    type="PropagatorTraining",
    weights="shipped",
    propagator=dict(insert_layers=(0, 1, 2, 3)),
    teacher_share=0.0,
)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type="PolyLR", power=0.9, eta_min=1e-5, by_epoch=False, begin=50, end=num_steps),
]
train_cfg = dict(max_iters=num_steps, val_interval=num_steps)
# Other scenes than those of the weights.
clips = dict(split="train", length=1_000_000, size={{_base_.size}}, num_frames=6, seed=1)
train_dataloader = dict(
    dataset=dict(parts=[dict(type="WorldClips", **clips), dict(type="SpriteClips", **clips)])
)
