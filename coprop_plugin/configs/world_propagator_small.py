# Stage 2 on synthetic scenes: a few hours on one or two CPU cores. Half of the clips are of scenes,
# half of random sprites, so that the propagator learns to follow any labelled object.
_base_ = ["_world.py"]

size = (112, 160)
model = dict(
    type="PropagatorTraining",
    propagator=dict(
        preset="AOTS",
        encoder="small",
        long_term_gap=5,
        width=96,
        num_heads=4,
        audio_encoder="SmallLogMelEncoder",
        audio_width=96,
        # As the shipped weights, which hear the next frame, too.
        neighbours=(-1, 0, 1),
        max_size=240,
        drop_path=0.1,
        guide="flow",
    ),
    teacher_share=0.3,
    audio_dropout=0.1,
)

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    # Scenes do not repeat: no need to shuffle.
    sampler=dict(type="InfiniteSampler", shuffle=False),
    dataset=dict(
        type="InterleavedDataset",
        parts=[
            dict(type="WorldClips", split="train", length=1_000_000, size=size, num_frames=6),
            dict(type="SpriteClips", split="train", length=1_000_000, size=size, num_frames=6),
        ],
    ),
    collate_fn=dict(type="default_collate"),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="WorldClips", split="val", length=60, size=size, num_frames=10),
    collate_fn=dict(type="default_collate"),
)
test_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="WorldClips", split="test", length=200, size=size, num_frames=10),
    collate_fn=dict(type="default_collate"),
)
val_evaluator = [dict(type="MaskMetric"), dict(type="AlignmentMetric")]
test_evaluator = val_evaluator

# AOT's optimiser; the encoder is trained from scratch, so with the same learning rate.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=4e-4, weight_decay=0.03),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=200),
    dict(
        type="PolyLR", power=0.9, eta_min=1e-5, by_epoch=False, begin=200, end={{_base_.num_steps}}
    ),
]
