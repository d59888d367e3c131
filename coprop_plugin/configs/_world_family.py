# Base of the small models of the released families on synthetic scenes: clips of one frame per
# second, as in AVSBench, with backbone and audio encoder pretrained on the scenes, as those of the
# released models are on ImageNet and AudioSet.
_base_ = ["_world.py"]

num_steps = 600
train_cfg = dict(max_iters=num_steps, val_interval=300)

train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    persistent_workers=True,
    # Scenes do not repeat: no need to shuffle.
    sampler=dict(type="InfiniteSampler", shuffle=False),
    dataset=dict(type="WorldSeconds", split="train", length=1_000_000, size=(112, 160)),
    collate_fn=dict(type="default_collate"),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="WorldSeconds", split="val", length=24, size=(112, 160)),
    collate_fn=dict(type="default_collate"),
)
test_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="WorldSeconds", split="test", length=160, size=(112, 160)),
    collate_fn=dict(type="default_collate"),
)
val_evaluator = [dict(type="MaskMetric"), dict(type="AlignmentMetric")]
test_evaluator = val_evaluator

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1.2e-3, weight_decay=0.02),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={"model.backbone": dict(lr_mult=0.25), "audio_encoder": dict(lr_mult=0.25)},
    ),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=50, end=num_steps, eta_min=0.0),
]
custom_hooks = [dict(type="AverageWeights", steps=600)]
