"""Which propagator a user means."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coprop_plugin.checkpoints import is_folder_or_id
from coprop_plugin.checkpoints.native import SHIPPED
from coprop_plugin.errors import UnknownNameError
from coprop_plugin.registry import MODELS, build, list_propagators, names
from coprop_plugin.types import Propagator

WEIGHTS = SHIPPED / "propagator.safetensors"
"""Of the propagator that `wrap` uses where nothing else is said."""


def as_propagator(propagator: Any = None) -> Propagator:
    """Return the propagator that `wrap(propagator=...)` means.

    Args:
        propagator: None or "default" for the weights that ship, a path to safetensors of ours or
            to a released AOT checkpoint, a folder that `save_pretrained` wrote, "hf://owner/name",
            a registered name, a config, or a propagator.

    Raises:
        CheckpointError: If it is a file that holds no propagator.
        UnknownNameError: If it is neither a file nor a registered name.
    """
    if propagator is None or propagator == "default":
        propagator = WEIGHTS
    if isinstance(propagator, Propagator):
        return propagator
    if isinstance(propagator, Mapping):
        return build(MODELS, propagator, verb="step")
    if isinstance(propagator, str) and propagator in names(MODELS, "step"):
        return build(MODELS, propagator, verb="step")
    is_file = isinstance(propagator, str | Path) and Path(propagator).suffix
    if is_file or is_folder_or_id(propagator):
        from coprop_plugin.propagation.checkpoint import load

        return load(propagator)
    raise UnknownNameError(
        f"Got propagator={propagator!r}; wanted the path of a checkpoint or a folder, "
        f"hf://owner/name, a config, a propagator, or one of: {', '.join(list_propagators())}."
    )
