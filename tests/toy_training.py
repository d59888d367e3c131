"""Networks and data small enough to train in a test, and runs in processes of their own."""

from pathlib import Path

import torch
from processes import start, start_coprop
from safetensors.torch import load_file

from coprop_plugin import cli

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
    from coprop_plugin.training import read_config

    config = read_config(name, work_dir)
    if "processor" in config.model:
        config.model.processor = TOY_PROCESSOR
    elif "propagator" in config.model:
        config.model.propagator = TOY_PROPAGATOR | dict(drop_path=0.5)
        config.model.audio_dropout = 0.5
    for part in ("train", "val", "test"):
        loader = config[f"{part}_dataloader"]
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        for dataset in loader.dataset.get("parts", [loader.dataset]):
            dataset.update(size=SIZE, length=1000 if part == "train" else 4)
            if "num_frames" in dataset:
                dataset.num_frames = 3
    config.train_cfg.update(max_iters=steps, val_interval=steps)
    config.default_hooks.checkpoint.interval = 2
    config.default_hooks.logger.interval = 1
    warm_up, decay = config.param_scheduler
    warm_up.end = decay.begin = 2
    decay.end = steps + 2
    return config


def toy_avsbench_config(name, root, work_dir, epochs=1):
    """Return a config of AVSBench at toy size, for a data set at `root` of 32 x 32 pixels."""
    from coprop_plugin.training import read_config

    config = read_config(name, work_dir)
    if "weights" in config.model:
        from coprop_plugin.keyframes import KeyframeProcessor, save_keyframe_processor

        torch.manual_seed(0)
        weights = Path(work_dir) / "stage_1.safetensors"
        config.model.weights = str(
            save_keyframe_processor(KeyframeProcessor(**TOY_PROCESSOR), weights)
        )
    elif config.model.type == "KeyframeTraining":
        num_classes = 10 if name.startswith("avss") else 1
        processor = TOY_PROCESSOR | dict(num_classes=num_classes)
        config.model = dict(type="KeyframeTraining", processor=processor)
    else:
        config.model = dict(type="PropagatorTraining", propagator=TOY_PROPAGATOR)
    for part in ("train", "val"):
        loader = config[f"{part}_dataloader"]
        loader.update(num_workers=0, persistent_workers=False)
        # Keyframes and segments of a data set have it one level down.
        dataset = loader.dataset.get("dataset", loader.dataset)
        dataset.update(root=str(root), size=32)
        if "avss_root" in dataset:
            dataset.avss_root = None
        if "provider" in loader.dataset:
            loader.dataset.provider = "oracle"
    config.train_cfg.update(max_epochs=epochs, val_interval=epochs)
    return config


def with_hook(config, **hook):
    """Have a run call one of `training_hooks`, in this process or in another one."""
    import training_hooks  # noqa: F401

    config.custom_imports = dict(imports=[*config.custom_imports["imports"], "training_hooks"])
    config.custom_hooks = [*config.get("custom_hooks", []), hook]
    return config


def train_in_another_process(folder, config, launch=start_coprop):
    """Run `coprop train` on a config; returns the finished process."""
    folder.mkdir(exist_ok=True)
    config.dump(folder / "config.py")
    return launch(folder, "train", folder / "config.py").wait()


def on_two_processes(folder, *arguments):
    """Run a command of `coprop` by torchrun, which forks in place of starting Python again."""
    options = ["--standalone", "--nproc-per-node=2", "--start-method=fork"]
    command = ["--run-path", cli.__path__[0] + "/__main__.py", *map(str, arguments)]
    return start(folder, _torchrun, options + command)


def _torchrun(arguments):
    from torch.distributed.run import main

    main(arguments)


def assert_same_weights(path, other, **tolerance):
    """Compare two files of weights, name by name."""
    weights, others = load_file(path), load_file(other)
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        torch.testing.assert_close(value, others[name], **tolerance)
