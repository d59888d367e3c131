"""Training with mmengine's Runner: stages, losses, batches, hooks, and the run itself."""

from coprop_plugin.training.run import config_names, evaluate, read_config, train

__all__ = ["config_names", "evaluate", "read_config", "train"]
