"""Training and evaluation runs from a config, with mmengine's Runner."""

import contextlib
import gc
import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from coprop_plugin.checkpoints.untrusted import only_tensors, refuse_large
from coprop_plugin.errors import TrainingError
from coprop_plugin.media.json_lines import JsonLines
from coprop_plugin.registry import SCOPE
from coprop_plugin.training.config_errors import check_names, errors_of_the_config

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
_CONFIG_SUFFIXES = (".py", ".json", ".yaml", ".yml")
WEIGHTS_NAME = "weights.safetensors"
"""Name of the trained weights in the folder of a finished run."""


def train(
    config: Any,
    work_dir: str | Path | None = None,
    *,
    resume: bool = False,
    amp: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> Path:
    """Train from a config, and save the weights in the library's format.

    In one process, or in all that `torchrun` starts: over nccl on GPUs, over gloo on CPUs. The log,
    with progress and remaining time, goes to stderr and to the work folder, and TensorBoard curves,
    too, if it is installed (`pip install "coprop-plugin[train]"`).

    Random numbers of a step depend on the config's seed and on the step only, and synthetic scenes
    on their index: an interrupted and resumed run ends with the same weights as an uninterrupted
    one.

    Args:
        config: An mmengine config, its file, or the name of one of ours, e.g.
            "world_keyframes_small".
        work_dir: Folder for checkpoints, logs and weights; by default the config's, or
            `work_dirs/<name of the config>`.
        resume: Resume from the last checkpoint in `work_dir`, if any; from the one before it if
            that is damaged.
        amp: Train in mixed precision, on a GPU.
        overrides: Values of the config to change, by dotted name: `{"train_cfg.max_epochs": 30}`.

    Returns:
        The safetensors: averaged weights if the config has an `EMAHook`.

    Raises:
        TrainingError: If the config does not exist or is not for training, or `work_dir` holds
            another run and `resume` is False, or another process trains there.
        CheckpointError: If there are checkpoints to resume, and all are damaged.
        CopropError: If a part of the config does not exist or cannot be built.

    Example:
        >>> train("world_keyframes_small", "runs/keyframes")  # doctest: +SKIP
        PosixPath('runs/keyframes/weights.safetensors')
    """
    config = read_config(config, work_dir, overrides)
    folder = Path(config.work_dir)
    if "train_dataloader" not in config or "optim_wrapper" not in config:
        raise TrainingError(
            "The config lacks train_dataloader or optim_wrapper; both are needed to train. Start "
            f"from one of ours: {', '.join(config_names())}."
        )
    for name in _OF_TESTS:
        config.pop(name, None)
    if amp:
        _use_amp(config)
    with _on_stderr(), _alone_in(folder), _processes(config), only_tensors():
        _set_start(config, folder, resume)
        with errors_of_the_config():
            _run(config, folder / WEIGHTS_NAME)
    return folder / WEIGHTS_NAME


def _run(config: Any, path: Path) -> None:
    """Train, and write the weights in one of the processes."""
    # Importing registers them, also for configs without custom_imports.
    from coprop_plugin.training import batches, hooks, logs, models  # noqa: F401
    from coprop_plugin.training.whole_checkpoints import WholeRunner

    hooks.add_step_seeds(config)
    check_names(config.to_dict())
    note = logs.add_tensorboard(config)
    runner = WholeRunner.from_cfg(config)
    if note:
        runner.logger.info(note)
    runner.train()
    if runner.rank == 0:
        hooks.averaged(runner).export(path)


def _set_start(config: Any, folder: Path, resume: bool) -> None:
    """Have a run start from the last whole checkpoint of its folder, or from the beginning.

    Raises:
        TrainingError: If the folder holds another run that is not to be resumed.
        CheckpointError: If there are checkpoints, but none that is whole.
    """
    from coprop_plugin.training.whole_checkpoints import holds_checkpoints, last_whole_checkpoint

    if not resume and holds_checkpoints(folder):
        raise TrainingError(
            f"{folder} holds the checkpoints of another run. Resume it with resume=True "
            "(--resume), or name another folder."
        )
    last = last_whole_checkpoint(folder) if resume else None
    config.resume = last is not None
    if last is not None:
        config.load_from = str(last)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of a work folder.

    Raises:
        TrainingError: If another one is there.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    with JsonLines(folder / "training", TrainingError, name=folder):
        yield


def evaluate(
    config: Any,
    weights: str | Path,
    work_dir: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Evaluate weights on a config's test data, or on its validation data if it has no other.

    Args:
        config: As in `train`.
        weights: The file that `train` returned, or a checkpoint in its folder (`.pth`).
        work_dir: Folder for the log; as in `train`.
        overrides: As in `train`.

    Returns:
        The scores by name.

    Raises:
        TrainingError: If weights or config do not exist, or the config has no data to evaluate on.
        CheckpointError: If the weights are not for the config's stage, or hold more than tensors,
            numbers and containers, which is not unpickled, or are too large.

    Example:
        >>> scores = evaluate("world_keyframes_small", "w.safetensors")  # doctest: +SKIP
    """
    if not Path(weights).is_file():
        raise TrainingError(f"There is no file {weights}. Pass the weights that `train` wrote.")
    config = read_config(config, work_dir, overrides)
    part = "test" if "test_dataloader" in config else "val"
    if f"{part}_dataloader" not in config:
        raise TrainingError("The config has neither test_dataloader nor val_dataloader. Add one.")
    config.test_dataloader = config[f"{part}_dataloader"]
    config.test_evaluator = config[f"{part}_evaluator"]
    config.test_cfg = dict(type="TestLoop")
    for name in _OF_TRAINING:
        config.pop(name, None)
    if Path(weights).suffix == ".pth":
        refuse_large(Path(weights))
        config.load_from = str(weights)
    else:
        config.model = dict(type=config.model.type, weights=str(weights))
    with _on_stderr(), _processes(config), only_tensors(), errors_of_the_config():
        return _scores(config)


def _scores(config: Any) -> dict[str, float]:
    from mmengine.runner import Runner

    from coprop_plugin.training import batches, models  # noqa: F401

    check_names(config.to_dict())
    return dict(Runner.from_cfg(config).test())


_OF_TRAINING = (
    "train_dataloader train_cfg optim_wrapper param_scheduler val_dataloader val_cfg "
    "val_evaluator custom_hooks visualizer"
).split()


_OF_TESTS = ("test_dataloader", "test_cfg", "test_evaluator")


def config_names() -> list[str]:
    """Return the names of the configs that come with the library.

    Example:
        >>> "world_keyframes_small" in config_names()
        True
    """
    return sorted(path.stem for path in CONFIGS.glob("*.py") if not path.stem.startswith("_"))


def read_config(
    config: Any,
    work_dir: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Any:
    """Return a copy of a config as an mmengine `Config`, with work folder, seed and our scope.

    Args:
        config: An mmengine config, a mapping, a file, or the name of one of ours.
        work_dir: As in `train`.
        overrides: As in `train`.

    Raises:
        TrainingError: If the file or name does not exist, the file is not a config, or an override
            does not fit it.
    """
    from mmengine import Config

    name = "run"
    if isinstance(config, str | Path):
        path = _config_file(config)
        name = path.stem
        try:
            config = Config.fromfile(path)
        except (SyntaxError, TypeError, OSError, ValueError) as error:
            raise TrainingError(f"{path} cannot be read as a config: {error}") from error
    content = config.to_dict() if isinstance(config, Config) else dict(config)
    # mmengine writes the config with every checkpoint; to format it takes yapf seconds each time.
    config = Config(content, format_python_code=False)
    unknown = [name for name in overrides or {} if name.partition(".")[0] not in config]
    try:
        if unknown:
            raise KeyError(f"it has no {unknown[0]}")
        config.merge_from_dict(dict(overrides or {}))
    except (TypeError, KeyError, ValueError) as error:
        raise TrainingError(
            f"{dict(overrides or {})} does not fit the config: {error}. Use names of its values, "
            "e.g. train_cfg.max_epochs."
        ) from error
    if "model" not in config:
        raise TrainingError("The config is without `model`: the stage to train. Add it.")
    folder = work_dir or config.get("work_dir") or Path("work_dirs") / name
    config.work_dir = str(folder)
    config.default_scope = SCOPE
    config.setdefault("randomness", dict(seed=0))
    # mmengine identifies runs by name and second, and would mix up two in one process.
    name = config.get("experiment_name", name).partition("@")[0]
    config.experiment_name = f"{name}@{uuid.uuid4().hex[:8]}"
    return config


def _config_file(config: str | Path) -> Path:
    path = Path(config)
    if path.suffix not in _CONFIG_SUFFIXES:
        path = CONFIGS / f"{config}.py"
    if not path.is_file():
        raise TrainingError(
            f"There is no config {config}. Pass the path of a .py, .json or .yaml file, or one of "
            f"ours: {', '.join(config_names())}."
        )
    return path


def _use_amp(config: Any) -> None:
    import torch

    if not torch.cuda.is_available():
        raise TrainingError("amp=True needs a GPU. Leave it out to train on CPUs.")
    config.optim_wrapper.type = "AmpOptimWrapper"
    config.optim_wrapper.setdefault("loss_scale", "dynamic")


@contextlib.contextmanager
def _on_stderr() -> Iterator[None]:
    """Redirect mmengine's log from stdout, which is for results, to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def _processes(config: Any) -> Iterator[None]:
    """Join the process group of `torchrun`, if there is one."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    import torch
    from torch import distributed

    config.launcher = "pytorch"
    # The ID bank or the audio encoder may be unused in a step.
    config.find_unused_parameters = True
    if torch.cuda.is_available():
        config.setdefault("env_cfg", dict(dist_cfg=dict(backend="nccl")))
    else:
        # mmengine would need a GPU in both places.
        distributed.init_process_group("gloo")
        config.model_wrapper_cfg = dict(
            type="MMDistributedDataParallel", device_ids=None, find_unused_parameters=True
        )
    try:
        yield
        distributed.barrier()
    finally:
        # The group's threads end with the last object that uses it: one that were alive at the
        # interpreter's exit would abort the process.
        gc.collect()
        if distributed.is_initialized():
            distributed.destroy_process_group()
