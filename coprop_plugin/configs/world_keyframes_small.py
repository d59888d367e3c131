# Stage 1 on synthetic scenes: a few hours on one or two CPU cores. With num_classes=1 the head is
# binary; leave SemanticMetric out then.
_base_ = ["_world.py"]

model = dict(
    type="KeyframeTraining",
    processor=dict(
        num_classes=11,
        class_names="silent bell bird drum engine flute siren dog cricket singer horn".split(),
        num_queries=16,
        max_size=208,
    ),
)

train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    # Consecutive items share a scene, and scenes do not repeat: no need to shuffle.
    sampler=dict(type="InfiniteSampler", shuffle=False),
    dataset=dict(type="WorldFrames", split="train", length=1_000_000, size=(112, 160)),
    collate_fn=dict(type="default_collate"),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="WorldFrames", split="val", length=400, size=(112, 160)),
    collate_fn=dict(type="default_collate"),
)
test_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="WorldFrames", split="test", length=800, size=(112, 160)),
    collate_fn=dict(type="default_collate"),
)
val_evaluator = [
    dict(type="MaskMetric"),
    dict(type="AlignmentMetric"),
    dict(type="SemanticMetric"),
]
test_evaluator = val_evaluator

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.02),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=50, end={{_base_.num_steps}}, eta_min=0.0),
]
