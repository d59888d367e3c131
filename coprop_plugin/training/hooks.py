"""Hooks of a training run: seeds of the steps, averaged weights."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import EMAHook, Hook

from coprop_plugin.registry import HOOKS
from coprop_plugin.training.stage import StageModel, trained_part

_STRIDE = 1_000_003


@HOOKS.register_module()
class SeedEachStep(Hook):
    """Seeds torch before each step, so that a resumed run draws the same random numbers.

    Args:
        seed: Seed of the run.

    Example:
        >>> SeedEachStep(seed=1).seed
        1
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed from the run's seed, the step and the rank."""
        step = runner.iter * runner.world_size + runner.rank
        torch.manual_seed((self.seed * _STRIDE + step) % 2**63)


@HOOKS.register_module()
class AverageWeights(EMAHook):
    """Averages the weights as AOT does: decay 1 - 1 / (0.1 x steps), with warm-up.

    Args:
        steps: Steps of the run; None: of this run. The decay of step n is at most
            (1 + n) / (10 + n).

    Example:
        >>> AverageWeights(steps=5000).steps
        5000
    """

    def __init__(self, steps: int | None = None) -> None:
        super().__init__("MomentumAnnealingEMA", gamma=9, update_buffers=True)
        self.steps = steps

    def before_run(self, runner: Any) -> None:
        """Initialise the average with the current weights."""
        steps = self.steps or runner.max_iters
        self.ema_cfg["momentum"] = 10 / max(steps, 20)
        super().before_run(runner)


def add_step_seeds(config: Any) -> None:
    """Add a `SeedEachStep` with the config's seed, unless there is one."""
    hooks = list(config.get("custom_hooks") or [])
    types = [hook.get("type") if isinstance(hook, Mapping) else type(hook) for hook in hooks]
    if not any("SeedEachStep" in str(kind) for kind in types):
        seed = config.randomness.get("seed") or 0
        hooks.append(dict(type=f"{HOOKS.scope}.SeedEachStep", seed=seed))
    config.custom_hooks = hooks


def averaged(runner: Any) -> StageModel:
    """Return the trained stage of a run, with averaged weights if there is an `EMAHook`."""
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            return hook.ema_model.module
    return trained_part(runner.model)
