"""Training with mmengine's Runner: stages, losses, batches, hooks, and the run itself."""

import importlib
from typing import Any

from coprop_plugin.training.run import CONFIGS, config_names, evaluate, read_config, train

# Loaded when first used: a command that only reads configs needs no networks.
_HOMES = {
    "ChangeDetectorTraining": "models",
    "FamilyTraining": "models",
    "KeyframeTraining": "models",
    "PropagatorTraining": "models",
    "RefinerExamples": "refiner_examples",
    "RefinerTraining": "models",
    "SoundFolder": "sound_folder",
    "SoundMixtures": "change_dataset",
    "SoundingObjectTraining": "models",
    "with_assets": "config_folders",
    "with_sounds": "config_folders",
}
__all__ = ["CONFIGS", "config_names", "evaluate", "read_config", "train", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
