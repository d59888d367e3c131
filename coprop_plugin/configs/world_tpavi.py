# A small TPAVI on synthetic scenes: ten minutes on one CPU core.
_base_ = ["_world_family.py"]

model = dict(
    type="FamilyTraining",
    model=dict(
        type="tpavi",
        backbone="small",
        audio_encoder="SmallLogMelEncoder",
        width=48,
        head_widths=(16, 8),
        input_size=(96, 128),
    ),
    senses="shipped",
    alone=0.5,
)

num_steps = 1000
train_cfg = dict(max_iters=num_steps, val_interval=500)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=50, end=num_steps, eta_min=0.0),
]
# TPAVI's audio blocks start at zero (their last norm), and need more than so few steps.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"batch_norm": dict(lr_mult=10.0)}))
