"""Weights under upstream's names: of AOT, and of released AVS models."""

import gzip
import json
from pathlib import Path

import torch

from coprop_plugin.propagation.aot_names import our_name

GOLDEN = Path(__file__).parent / "golden"


def released_shapes(name):
    """Return upstream's names of a released file, each with its dtype and shape."""
    with gzip.open(GOLDEN / f"{name}.names.json.gz", "rt") as file:
        return {key: (dtype, shape) for key, (dtype, *shape) in json.load(file).items()}


def upstream_names(model):
    """Return upstream's names of an AOT file, each with its shape."""
    return {name: shape for name, (_, shape) in released_shapes(model).items()}


def as_aot(propagator):
    """Return the network's weights under upstream's names and in its shapes."""
    ours = {
        our_name(name): name
        for model in ("aot_r50_aotl", "aot_aotl")
        for name in upstream_names(model)
    }
    state = {}
    for name, value in propagator.network.state_dict().items():
        if name in ours:
            grouped = "relative_key_weight" in name
            state[ours[name]] = value.clone()[..., None, None] if grouped else value.clone()
    return state | {"LSTT.mask_token": torch.zeros(1, 1, 16)}
