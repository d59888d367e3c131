"""The propagator that `wrap(propagator=...)` selects."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coprop_plugin.checkpoints import is_folder_or_id
from coprop_plugin.checkpoints.native import SHIPPED
from coprop_plugin.errors import UnknownNameError
from coprop_plugin.propagation.appearance import AppearancePropagator
from coprop_plugin.propagation.checkpoint import load
from coprop_plugin.registry import MODELS, build, list_propagators, names
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
            propagator.

    Raises:
        CheckpointError: If it is a file that does not hold a propagator.
        UnknownNameError: If it is neither a file nor a registered name.
    """
    if propagator is None or propagator == "default":
        return AppearancePropagator()
    if propagator == "learned":
        propagator = WEIGHTS
    if isinstance(propagator, Propagator):
        return propagator
    if isinstance(propagator, Mapping):
        return build(MODELS, propagator, verb="step")
    if isinstance(propagator, str) and propagator in names(MODELS, "step"):
        return build(MODELS, propagator, verb="step")
    is_path = isinstance(propagator, str | Path)
    if is_path and (Path(propagator).suffix or is_folder_or_id(propagator)):
        return load(propagator)
    raise UnknownNameError(
        f"{propagator!r} is not a propagator. Expected the path of a checkpoint or a folder, "
        f"hf://owner/name, a config, a propagator, or one of: {', '.join(list_propagators())}."
    )
