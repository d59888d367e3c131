"""Hooks for runs in tests, to be named in `custom_imports`."""

import json
import os
import signal
from pathlib import Path

from mmengine.hooks import Hook
from torch import distributed

from coprop_plugin.registry import HOOKS
from coprop_plugin.training.hooks import averaged


@HOOKS.register_module()
class KillAtStep(Hook):
    """Kills the process, as nothing could foresee."""

    def __init__(self, step):
        self.step = step

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module()
class RecordLoss(Hook):
    """Writes the loss of every step, the mean of all processes; the log has the first one's.

    And the weights that the run begins with, into `start`.
    """

    def __init__(self, path, start):
        self.path, self.start = path, start

    def before_train(self, runner):
        if runner.rank == 0:
            averaged(runner).export(Path(self.start))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        loss = outputs["loss"].detach().clone()
        if runner.distributed:
            distributed.all_reduce(loss)
        if runner.rank == 0:
            with open(self.path, "a") as file:
                file.write(json.dumps([runner.world_size, float(loss) / runner.world_size]) + "\n")


@HOOKS.register_module()
class KillWhileSaving(Hook):
    """Kills the process in the middle of writing a checkpoint."""

    priority = "VERY_LOW"

    def __init__(self, step):
        self.step = step

    def before_save_checkpoint(self, runner, checkpoint):
        if checkpoint["meta"]["iter"] == self.step:
            folder = Path(runner.work_dir)
            (folder / f".iter_{self.step}.pth.part").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
