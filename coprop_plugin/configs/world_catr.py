# CATR at toy width on the made-up world: half an hour of a CPU core. Its masks are at a
# sixteenth of its input, which is why its frames are enlarged, as its authors do; they are made of
# an eighth of its channels, which is why it is twice as wide as the others.
_base_ = ["_world_family.py"]

model = dict(
    type="FamilyTraining",
    model=dict(
        type="catr",
        backbone="small",
        audio_encoder="SmallLogMelEncoder",
        width=128,
        heads=4,
        dropout=0.0,
        fusion_heads=4,
        hidden=128,
        clip_hidden=128,
        layers=2,
        decoder_layers=2,
        num_queries=4,
        mask_width=32,
        input_size=(128, 192),
    ),
    senses="shipped",
    alone=0.5,
)

num_steps = 1000
train_cfg = dict(max_iters=num_steps, val_interval=250)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=50, end=num_steps, eta_min=0.0),
]
optim_wrapper = dict(optimizer=dict(lr=8e-4))
