# Base of the configs on synthetic scenes: 5,000 steps, a checkpoint every hundred, and weights
# averaged over the run.
default_scope = "coprop_plugin"
custom_imports = dict(imports=["coprop_plugin.training.models"])

num_steps = 5000
train_cfg = dict(type="IterBasedTrainLoop", max_iters=num_steps, val_interval=1000)
val_cfg = dict(type="ValLoop")

default_hooks = dict(
    logger=dict(type="LoggerHook", interval=20, log_metric_by_epoch=False),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=100, max_keep_ckpts=2),
)
custom_hooks = [dict(type="AverageWeights")]
log_processor = dict(by_epoch=False, window_size=20)
randomness = dict(seed=0)
