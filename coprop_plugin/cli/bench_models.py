"""The models and propagators that `coprop bench` names."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from coprop_plugin.adapters.recognise import find_backend
from coprop_plugin.batch.load import load_backend
from coprop_plugin.checkpoints import WEIGHTS_FILE
from coprop_plugin.errors import AdapterError
from coprop_plugin.keyframes import KeyframeProcessor
from coprop_plugin.keyframes.processor_weights import WEIGHTS as KEYFRAME_WEIGHTS
from coprop_plugin.propagation.resolve import WEIGHTS, as_propagator
from coprop_plugin.types import KeyframeBackend, Propagator

_NAMELESS = ("weights.safetensors", WEIGHTS_FILE)


def backends_of(
    specs: Sequence[str], device: str | None = None
) -> tuple[dict[str, KeyframeBackend], dict[str, Any]]:
    """Load models that a command line names.

    Args:
        specs: `[NAME=]MODEL`, where MODEL is the safetensors of a KeyframeProcessor; or a name or
            `module:callable`, as in `load_backend`, with `,OPTION=VALUE` of its adapter and with
            `@WEIGHTS` behind it if need be: `tpavi,context=frame@S4_pvt_best.pth`. None at all is
            the processor that ships.
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
        name, model, options, weights = _parts(spec)
        if name in backends:
            raise AdapterError(f"Got two backends {name!r}. Name them: --backend NAME={spec}.")
        made, adapter = load_backend(model, weights)
        if isinstance(made, torch.nn.Module):
            made = made.to(device).eval()
        backends[name] = find_backend(made, adapter, **options)
        kind = _kind(getattr(backends[name], "network", made))
        about[name] = {"model": model, **kind, **options, **_file(weights), "device": device}
    return backends, about


def _parts(spec: str) -> tuple[str, str, dict[str, Any], Path | None]:
    """Take `[NAME=]MODEL[,OPTION=VALUE..][@WEIGHTS]` apart."""
    given, model = _named(spec)
    weights, options = None, {}
    named = re.fullmatch(r"[\w.]+(,\w+=[^@]+)*@.+", model)
    if model.endswith(".safetensors") and ":" not in model and not named:
        model, weights = "keyframe_processor", Path(model)
    elif "@" in model:
        model, _, path = model.partition("@")
        weights = Path(path)
    model, *pairs = model.split(",")
    for pair in pairs:
        option, _, value = pair.partition("=")
        options[option] = _value(value)
    place, _, function = model.rpartition(":")
    # What training and the hub write is called the same whatever it is of.
    told = weights is not None and weights.name not in _NAMELESS
    default = function if place else weights.stem if told else model
    return given or default, model, options, weights


def _kind(network: Any) -> dict[str, Any]:
    """Say which of our own models this is, and on which backbone."""
    from coprop_plugin.adapters.registered import FAMILIES

    families = {name: family.build for name, family in FAMILIES.items()}
    families["keyframe_processor"] = KeyframeProcessor
    for name, kind in families.items():
        if isinstance(network, kind):
            return {"family": name, "backbone": network.config["backbone"]}
    return {}


def _value(text: str) -> Any:
    """Read an option's value: a number, say, or else a word."""
    try:
        return json.loads(text)
    except ValueError:
        return text


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
