# Base of the AVSBench configs: the paper's hyper-parameters (section 4.2), Adam at 1e-4 for 100
# epochs with 4 clips per batch. It specifies no schedule, so the learning rate is constant. Scores
# are computed with one clip per batch.
default_scope = "coprop_plugin"
custom_imports = dict(imports=["coprop_plugin.training.models", "coprop_plugin.training.batches"])

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type="MaskMetric"), dict(type="AlignmentMetric")]
test_evaluator = val_evaluator

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-4))
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=100, val_interval=5)
val_cfg = dict(type="ValLoop")
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=20),
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2),
)
randomness = dict(seed=0)
