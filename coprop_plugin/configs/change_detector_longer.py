# More steps after `change_detector`, on other mixtures:
# `coprop train change_detector_longer --sounds FOLDER`. About 10 minutes of one free CPU core.
_base_ = ["change_detector.py"]

num_steps = 1500
train_cfg = dict(max_iters=num_steps)
model = dict(
    _delete_=True,
    type="ChangeDetectorTraining",
    weights="work_dirs/change_detector/weights.safetensors",
)
train_dataloader = dict(dataset=dict(seed=7, repeats=6))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=100),
    dict(type="PolyLR", power=0.9, eta_min=2e-5, by_epoch=False, begin=100, end=num_steps),
]
