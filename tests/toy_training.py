"""Networks and data small enough to train in a test."""

TOY_PROCESSOR = dict(
    backbone=dict(type="small", widths=(8, 8, 16, 16), depths=(1, 1, 1, 1)),
    audio_encoder=dict(type="SmallLogMelEncoder", width=4),
    width=16,
    mask_width=8,
    num_queries=4,
    encoder_layers=1,
    decoder_layers=2,
    heads=2,
)
TOY_PROPAGATOR = dict(
    preset="AOTS",
    encoder=dict(type="r50", width=8, blocks=(1, 1, 1)),
    width=16,
    num_heads=2,
    audio_encoder=dict(type="SmallLogMelEncoder", width=4),
    audio_width=16,
)
SIZE = (32, 48)


def toy_config(name, work_dir, steps=4):
    """Return one of our configs at toy size, with a checkpoint every second step."""
    from coprop_plugin.training.run import read_config

    config = read_config(name, work_dir)
    if "processor" in config.model:
        config.model.processor = TOY_PROCESSOR
    else:
        config.model.propagator = TOY_PROPAGATOR | dict(drop_path=0.5)
        config.model.audio_dropout = 0.5
    for part in ("train", "val", "test"):
        loader = config[f"{part}_dataloader"]
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.update(size=SIZE, length=1000 if part == "train" else 4)
        if "num_frames" in loader.dataset:
            loader.dataset.num_frames = 3
    config.train_cfg.update(max_iters=steps, val_interval=steps)
    config.default_hooks.checkpoint.interval = 2
    config.default_hooks.logger.interval = 1
    warm_up, decay = config.param_scheduler
    warm_up.end = decay.begin = 2
    decay.end = steps + 2
    return config
