"""Data sets, scores and comparisons for audio-visual segmentation over time.

`datasets` gives clips with their truth, `metrics` scores predictions:

    dataset = MS3("Multi-sources", split="test", size=224)
    scores = MaskScores()
    for sample in dataset:
        scores.update(Outcome.of(model.segment(sample.clip), sample))
    scores.compute()["M_J"]

`plug_and_play` scores models bare and with each part of Co-Prop; `compare` scores control-point
providers.
"""

import importlib
from typing import Any

# Loaded when first used: each needs other parts of the library, and the metrics need none.
_HOMES = {
    "NamedProvider": "compare_providers",
    "compare": "compare_providers",
    "index_into": "example_store",
    "ErrorRates": "scripted_llm",
    "ScriptedListener": "scripted_llm",
    "SoundScenes": "sound_scenes",
    "untrained_clap": "untrained_models",
    "untrained_sed": "untrained_models",
    "WorldOptions": "world_clips",
    "WorldSamples": "world_clips",
    "world_sets": "world_clips",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
