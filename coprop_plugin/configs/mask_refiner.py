# The network that corrects flow and appearance, on photographic scenes of the material in a folder:
# `coprop train mask_refiner --assets FOLDER`. About 17 minutes of one free CPU core with AMX, half
# of them to render the scenes; 1.5 GB of memory.
_base_ = ["_world.py"]

num_steps = 3000
# Without validation during the run.
train_cfg = dict(max_iters=num_steps)
val_cfg = None
size = (224, 224)

model = dict(type="RefinerTraining", refiner=dict(widths=(32, 48, 64, 96)), bfloat16=True)

# To follow objects while they are visible, clips need not end where the sound changes.
clips = dict(
    type="PhotographicClips",
    assets="assets",
    split="train",
    length=100_000,
    size=size,
    num_frames=6,
    gap_s=(0.12, 1.0),
    silence_prob=0.0,
    crossing=1.0,
)
train_dataloader = dict(
    batch_size=12,
    num_workers=0,
    # Examples are drawn at random already.
    sampler=dict(type="InfiniteSampler", shuffle=False),
    dataset=dict(
        type="RefinerExamples",
        # Short steps, one a second, and the drift of many steps.
        clips=dict(
            type="InterleavedDataset",
            parts=[
                clips,
                dict(clips, gap_s=(1.0, 1.0), seed=1),
                dict(clips, gap_s=(0.125, 0.125), num_frames=10, seed=2),
            ],
        ),
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
