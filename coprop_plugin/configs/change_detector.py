# The change detector, on mixtures of the recordings in a folder:
# `coprop train change_detector --sounds FOLDER`. About 50 minutes of one free CPU core.
_base_ = ["_world.py"]

num_steps = 9500
train_cfg = dict(max_iters=num_steps, val_interval=500)

model = dict(type="ChangeDetectorTraining", network=dict(), bfloat16=True)

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    # Mixtures are random already.
    sampler=dict(type="InfiniteSampler", shuffle=False),
    dataset=dict(type="SoundMixtures", split="train", length=1_000_000, repeats=8, seed=5),
    collate_fn=dict(type="default_collate"),
)
# Fixed mixtures of sources that are not trained on; their seeds are far from that of training.
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="SoundMixtures", split="val", length=120, seed=1_000_001),
    collate_fn=dict(type="default_collate"),
)
test_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="SoundMixtures", split="test", length=200, seed=1_000_000),
    collate_fn=dict(type="default_collate"),
)
val_evaluator = [dict(type="ControlPointMetric")]
test_evaluator = val_evaluator

custom_hooks = [
    dict(type="AverageWeights"),
    dict(
        type="CalibrateChanges",
        dataset=dict(type="SoundMixtures", split="val", length=200, seed=99, with_boundaries=True),
    ),
]

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1.5e-3, weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
    clip_grad=dict(max_norm=2.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=200),
    dict(type="PolyLR", power=0.9, eta_min=2e-5, by_epoch=False, begin=200, end=num_steps),
]
