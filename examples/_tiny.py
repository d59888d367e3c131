"""Inputs of the examples with --tiny: untrained toy models and a synthetic clip."""

import tempfile
from pathlib import Path

from coprop_plugin import media
from coprop_plugin.adapters import FAMILIES, save_released
from coprop_plugin.world import Scene

ENCODERS = dict(
    backbone=dict(type="small", widths=(8, 8, 16, 16), depths=(1, 1, 1, 1)),
    audio_encoder=dict(type="SmallLogMelEncoder", width=4),
    input_size=64,
)
SIZES = dict(
    tpavi=dict(width=16, head_widths=(8, 8)),
    avsegformer=dict(width=16, num_queries=4, heads=2, layers=1, hidden=16, listening_hidden=16),
    catr=dict(width=64, hidden=16, clip_hidden=16, layers=1, num_queries=4, mask_width=8),
)


def video():
    """Write a synthetic clip of five seconds; returns its path."""
    scene = Scene.made_up(seed=2, duration_s=5.0, size=(64, 96))
    return media.write_clip(scene.clip(fps=10), Path(tempfile.mkdtemp()) / "made_up.mp4")


def weights(family):
    """Write the weights of a toy model; returns their path."""
    toy = FAMILIES[family].build(**ENCODERS, **SIZES[family])
    return save_released(toy, Path(tempfile.mkdtemp()) / f"{family}.safetensors")
