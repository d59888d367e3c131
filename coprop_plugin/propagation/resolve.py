"""The propagator that `wrap(propagator=...)` selects."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coprop_plugin.checkpoints import is_folder_or_id
from coprop_plugin.checkpoints.native import SHIPPED
from coprop_plugin.errors import ArgumentError, CheckpointError, UnknownNameError, did_you_mean
from coprop_plugin.propagation.appearance import AppearancePropagator
from coprop_plugin.propagation.checkpoint import load
from coprop_plugin.propagation.propagator import AudioInsertPropagator
from coprop_plugin.propagation.video_trackers import tracker_config
from coprop_plugin.registry import MODELS, build, find, list_propagators, names
from coprop_plugin.types import Propagator

WEIGHTS = SHIPPED / "propagator.safetensors"
"""Weights of the Audio-Insert Propagator that ships, `propagator="learned"`."""


def as_propagator(
    propagator: Propagator | Mapping[str, Any] | str | Path | None = None,
) -> Propagator:
    """Return the propagator that `wrap(propagator=...)` selects.

    Args:
        propagator: None or "default" for `AppearancePropagator`, which beats the learned one on
            photographs that neither has seen; "learned" for the Audio-Insert Propagator with the
            shipped weights, a path to safetensors of ours or to a released AOT checkpoint, a folder
            that `save_pretrained` wrote, "hf://owner/name", a registered name, a config, or a
            propagator. "sam2", "sam3" and "edgetam" are downloaded when they are first used;
            "sam2:CHECKPOINT" names another checkpoint, an id on the hub or a folder (see
            `VideoTracker`). "audio_insert", a network to be trained, needs its weights: a config
            with `weights`, a path as above or None for random ones.

    Raises:
        CheckpointError: If it is a file that does not hold a propagator, or "audio_insert" without
            weights, or a checkpoint that cannot be loaded.
        ArgumentError: If weights are given together with options that they determine.
        UnknownNameError: If it is neither a file nor a registered name.
    """
    if propagator is None or propagator == "default":
        return AppearancePropagator()
    if propagator == "learned":
        propagator = WEIGHTS
    if isinstance(propagator, Propagator):
        return propagator
    if isinstance(propagator, Mapping):
        return _of_config(propagator)
    if isinstance(propagator, str) and propagator in names(MODELS, "step"):
        return _of_config({"type": propagator})
    tracker = tracker_config(str(propagator))
    if tracker is not None:
        return build(MODELS, tracker, verb="step")
    is_path = isinstance(propagator, str | Path)
    if is_path and (Path(propagator).suffix or is_folder_or_id(propagator)):
        return load(propagator)
    raise UnknownNameError(
        f"{propagator!r} is not a propagator. Expected the path of a checkpoint or a folder, "
        f"hf://owner/name, a config, a propagator, or one of: {', '.join(list_propagators())}."
        f"{did_you_mean(str(propagator), list_propagators())}"
    )


def _of_config(config: Mapping[str, Any]) -> Propagator:
    kind = config.get("type")
    if isinstance(kind, str):
        kind = find(MODELS, kind, "step")
    if kind is not AudioInsertPropagator:
        return build(MODELS, config, verb="step")
    if "weights" not in config:
        raise CheckpointError(
            "'audio_insert' is a network without weights, whose masks would be random. Use the "
            "weights that ship, propagator='learned'; a path of weights that `coprop train` wrote; "
            'or that of a checkpoint of AOT. For random weights, use {"type": "audio_insert", '
            '"weights": None}.'
        )
    options = {name: value for name, value in config.items() if name != "weights"}
    weights = config["weights"]
    if weights is None:
        return build(MODELS, options, verb="step")
    if len(options) > 1:
        raise ArgumentError(
            f"{weights} determines the network, got {', '.join(sorted(options.keys() - {'type'}))} "
            "besides. Leave them out."
        )
    return as_propagator(weights)
