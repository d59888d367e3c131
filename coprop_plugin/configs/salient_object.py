# Fine-tuning of the salient-object model on photographic scenes and on photographs:
# `coprop train salient_object --assets FOLDER`. About half an hour of one CPU core with AMX.
_base_ = ["_world.py"]

num_steps = 400
train_cfg = dict(max_iters=num_steps, val_interval=num_steps)

model = dict(type="SoundingObjectTraining", weights="shipped")

train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    # Consecutive items share a scene, and scenes do not repeat: no need to shuffle.
    sampler=dict(type="InfiniteSampler", shuffle=False),
    dataset=dict(
        type="PhotographicFrames",
        assets="assets",
        split="train",
        length=1_000_000,
        size=(224, 224),
        photos=True,
    ),
    collate_fn=dict(type="default_collate"),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="PhotographicFrames", assets="assets", split="val", length=60, size=(224, 224)
    ),
    collate_fn=dict(type="default_collate"),
)
test_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="PhotographicFrames", assets="assets", split="test", length=200, size=(224, 224)
    ),
    collate_fn=dict(type="default_collate"),
)
val_evaluator = [dict(type="MaskMetric"), dict(type="AlignmentMetric")]
test_evaluator = val_evaluator

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-4, weight_decay=0.01),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=20),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=20, end=num_steps, eta_min=0.0),
]
