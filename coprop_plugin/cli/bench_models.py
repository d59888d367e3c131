"""The models and propagators that `coprop bench` names."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from coprop_plugin.adapters.recognise import find_backend
from coprop_plugin.errors import AdapterError
from coprop_plugin.keyframes.checkpoint import WEIGHTS as KEYFRAME_WEIGHTS
from coprop_plugin.loading import load_backend
from coprop_plugin.propagation.default import WEIGHTS, as_propagator
from coprop_plugin.types import KeyframeBackend, Propagator


def backends_of(
    specs: Sequence[str], device: str | None = None
) -> tuple[dict[str, KeyframeBackend], dict[str, Any]]:
    """Load models that a command line names.

    Args:
        specs: `[NAME=]MODEL`, where MODEL is the safetensors of a KeyframeProcessor, or
            `module:callable`, as in `load_backend`, with `@WEIGHTS` behind it if need be. None at
            all is the processor that ships.
        device: Where they run; by default on a GPU if there is one.

    Returns:
        The backends by name, and of each what it was made from, with the SHA-256 of its weights.

    Raises:
        AdapterError: If there is no such model, or two go by one name.
        CheckpointError: If its weights cannot be read.
    """
    if not specs:
        if not KEYFRAME_WEIGHTS.is_file():
            raise AdapterError(
                "No trained weights ship yet, so there is no model to take by default. Name one "
                "with --backend: the weights of a KeyframeProcessor, or `my_models.py:make_model`."
            )
        specs = [str(KEYFRAME_WEIGHTS)]
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    backends: dict[str, KeyframeBackend] = {}
    about: dict[str, Any] = {}
    for spec in specs:
        name, model, weights = _parts(spec)
        if name in backends:
            raise AdapterError(f"Got two backends {name!r}. Name them: --backend NAME={spec}.")
        made, adapter = load_backend(model, weights)
        if isinstance(made, torch.nn.Module):
            made = made.to(device).eval()
        backends[name] = find_backend(made, adapter)
        about[name] = {"model": model, **_file(weights), "device": device}
    return backends, about


def _parts(spec: str) -> tuple[str, str, Path | None]:
    """Take `[NAME=]MODEL[@WEIGHTS]` apart."""
    given, model = _named(spec)
    weights = None
    if model.endswith(".safetensors") and ":" not in model:
        model, weights = "keyframe_processor", Path(model)
    elif "@" in model:
        model, _, path = model.partition("@")
        weights = Path(path)
    place, _, function = model.rpartition(":")
    default = function if place else weights.stem if weights else model
    return given or default, model, weights


def propagators_of(specs: Sequence[str]) -> tuple[dict[str, Propagator], dict[str, Any]]:
    """Load propagators that a command line names.

    Args:
        specs: `[NAME=]FILE`, a file with weights; without a name it goes by "learned". None at all
            is the one that ships, if one does.

    Returns:
        The propagators by name, and what each was made from.

    Raises:
        AdapterError: If two go by one name.
        CheckpointError: If a file holds no propagator.
    """
    if not specs and WEIGHTS.is_file():
        specs = [str(WEIGHTS)]
    propagators: dict[str, Propagator] = {}
    about: dict[str, Any] = {}
    for spec in specs:
        given, path = _named(spec)
        name = given or "learned"
        if name in propagators:
            raise AdapterError(
                f"Got two propagators {name!r}. Name them: --propagator NAME={path}."
            )
        propagators[name] = as_propagator(path)
        about[name] = _file(Path(path))
    return propagators, about


def _named(spec: str) -> tuple[str, str]:
    found = re.fullmatch(r"([\w.-]+)=(.+)", spec)
    return (found[1], found[2]) if found else ("", spec)


def _file(path: Path | None) -> dict[str, str]:
    """Say which file, by name and content: the same file elsewhere is the same."""
    if path is None or not path.is_file():
        return {}
    with path.open("rb") as file:
        return {"weights": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
