# A small CATR on synthetic scenes: half an hour on one CPU core. Its masks have a sixteenth of the
# input's resolution, so frames are enlarged, as by its authors. Every frame is a clip of its own:
# five audio tokens without order do not help where the audio changes.
_base_ = ["_world_family.py"]

model = dict(
    type="FamilyTraining",
    model=dict(
        type="catr",
        backbone="small",
        audio_encoder="SmallLogMelEncoder",
        width=64,
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
    alone=1.0,
)

num_steps = 2000
train_cfg = dict(max_iters=num_steps, val_interval=500)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=50, end=num_steps, eta_min=0.0),
]
optim_wrapper = dict(optimizer=dict(lr=3e-4))
