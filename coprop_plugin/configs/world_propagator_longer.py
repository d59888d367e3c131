# More of stage 2, after `world_propagator_small`: clips of nine frames instead of six, with its own
# masks in memory from the start (no teacher forcing).
_base_ = ["world_propagator_small.py"]

num_steps = 1000
model = dict(
    _delete_=True,
    type="PropagatorTraining",
    weights="work_dirs/world_propagator_small/weights.safetensors",
    teacher_share=0.0,
)
clips = dict(split="train", length=1_000_000, size={{_base_.size}}, num_frames=9, seed=2)
train_dataloader = dict(
    batch_size=3,
    num_workers=1,
    dataset=dict(parts=[dict(type="WorldClips", **clips), dict(type="SpriteClips", **clips)]),
)
optim_wrapper = dict(optimizer=dict(lr=2e-4))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type="PolyLR", power=0.9, eta_min=1e-5, by_epoch=False, begin=50, end=num_steps),
]
train_cfg = dict(max_iters=num_steps, val_interval=num_steps)
