# The network that corrects flow and appearance, on photographic scenes of the material in a folder:
# `coprop train mask_refiner --assets FOLDER`. About two hours of one CPU core, most of them to
# render the scenes.
_base_ = ["_world.py"]

num_steps = 3000
# Without validation during the run.
train_cfg = dict(max_iters=num_steps)
val_cfg = None
size = (224, 224)

model = dict(type="RefinerTraining", refiner=dict(widths=(32, 48, 64, 96)))

train_dataloader = dict(
    batch_size=3,
    num_workers=1,
    persistent_workers=True,
    # Scenes do not repeat: no need to shuffle.
    sampler=dict(type="InfiniteSampler", shuffle=False),
    dataset=dict(
        type="PhotographicClips",
        assets="assets",
        split="train",
        length=1_000_000,
        size=size,
        num_frames=5,
        gap_s=(0.12, 1.0),
        silence_prob=0.0,
    ),
    collate_fn=dict(type="default_collate"),
)
test_dataloader = dict(
    batch_size=3,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="PhotographicClips", assets="assets", split="test", length=60, size=size, num_frames=8
    ),
    collate_fn=dict(type="default_collate"),
)
test_evaluator = [dict(type="MaskMetric")]

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=3e-3, weight_decay=1e-3),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=100),
    dict(type="PolyLR", power=0.9, eta_min=1e-5, by_epoch=False, begin=100, end=num_steps),
]
