# A binary head on the default Keyframe Processor: 300 more steps.
_base_ = ["world_keyframes_small.py"]

num_steps = 300
model = dict(
    _delete_=True, type="KeyframeTraining", weights="shipped", processor=dict(num_classes=1)
)
# Other scenes than those of the weights.
train_dataloader = dict(dataset=dict(seed=1))
val_evaluator = [dict(type="MaskMetric"), dict(type="AlignmentMetric")]
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(lr=2e-4))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=50, end=num_steps, eta_min=0.0),
]
train_cfg = dict(max_iters=num_steps, val_interval=num_steps)
