"""The models and propagators that `coprop bench` names."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from coprop_plugin.adapters.recognise import find_backend
from coprop_plugin.batch import chosen_backend, load_backend, load_propagator
from coprop_plugin.checkpoints import WEIGHTS_FILE
from coprop_plugin.errors import AdapterError
from coprop_plugin.keyframes import KeyframeProcessor
from coprop_plugin.keyframes.processor_weights import WEIGHTS as KEYFRAME_WEIGHTS
from coprop_plugin.layers import checked_device
from coprop_plugin.open_vocabulary import OpenVocabulary
from coprop_plugin.pipeline.preset_options import PRESETS
from coprop_plugin.propagation.resolve import WEIGHTS
from coprop_plugin.propagation.video_trackers import tracker_config
from coprop_plugin.types import KeyframeBackend, Propagator

# Training and the hub give these names to the weights of any model.
_NAMELESS = ("weights.safetensors", WEIGHTS_FILE)


def backends_of(
    specs: Sequence[str], device: str | None = None
) -> tuple[dict[str, KeyframeBackend], dict[str, Any]]:
    """Load the models that a command line names.

    Args:
        specs: `[NAME=]MODEL`, where MODEL is the safetensors of a KeyframeProcessor; or a name or
            `module:callable`, as in `load_backend`, optionally followed by `,OPTION=VALUE` of its
            adapter and by `@WEIGHTS`: `tpavi,context=frame@S4_pvt_best.pth`. Or a preset
            that has a model. By default the processor that ships.
        device: Device of the models; by default a GPU if available.

    Returns:
        The backends by name; and what each was made from, with the SHA-256 of its weights.

    Raises:
        AdapterError: If there is no such model, or two have the same name.
        CheckpointError: If weights cannot be read.
    """
    if not specs:
        if not KEYFRAME_WEIGHTS.is_file():
            raise AdapterError(
                "No trained weights ship, so there is no default model. Name one with --backend: "
                "the weights of a KeyframeProcessor, or `my_models.py:make_model`."
            )
        specs = [str(KEYFRAME_WEIGHTS)]
    backends: dict[str, KeyframeBackend] = {}
    about: dict[str, Any] = {}
    for spec in specs:
        name, model, options, weights = model_parts(spec)
        if spec in PRESETS:
            model = chosen_backend(None, spec)
        if name in backends:
            raise AdapterError(
                f"There are two backends named {name!r}. Name them: --backend NAME={spec}."
            )
        backends[name], about[name] = loaded_backend(model, options, weights, device)
    return backends, about


def loaded_backend(
    model: str, options: Mapping[str, Any], weights: Path | None, device: str | None = None
) -> tuple[KeyframeBackend, dict[str, Any]]:
    """Load a model and its adapter.

    Args:
        model: As for `load_backend`.
        options: Of its adapter.
        weights: Its weights, if it has a file of them.
        device: Its device; by default a GPU if available.

    Returns:
        The backend, and what it was made from.
    """
    device = str(checked_device(device or ("cuda" if torch.cuda.is_available() else "cpu")))
    made, adapter = load_backend(model, weights)
    if isinstance(made, torch.nn.Module):
        made = made.to(device).eval()
    elif isinstance(made, OpenVocabulary):
        made.to(device)
    backend = find_backend(made, adapter, **options)
    kind = _kind(getattr(backend, "network", made))
    return backend, {"model": model, **kind, **options, **about_file(weights), "device": device}


def model_parts(spec: str) -> tuple[str, str, dict[str, Any], Path | None]:
    """Split `[NAME=]MODEL[,OPTION=VALUE..][@WEIGHTS]`; the name has a default."""
    given, model = _named(spec)
    weights: Path | None = None
    options: dict[str, Any] = {}
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
    default = model
    if place:
        default = function
    elif weights is not None and weights.name not in _NAMELESS:
        default = weights.stem
    return given or default, model, options, weights


def _kind(network: Any) -> dict[str, Any]:
    """Return which of our own models this is, and its backbone."""
    from coprop_plugin.adapters.registered import FAMILIES

    families: dict[str, Any] = {name: family.build for name, family in FAMILIES.items()}
    families["keyframe_processor"] = KeyframeProcessor
    for name, kind in families.items():
        if isinstance(network, kind):
            return {"family": name, "backbone": network.config["backbone"]}
    return {}


def _value(text: str) -> Any:
    """Read an option's value as JSON, else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def propagators_of(specs: Sequence[str]) -> tuple[dict[str, Propagator], dict[str, Any]]:
    """Load the propagators that a command line names.

    Args:
        specs: `[NAME=]PROPAGATOR`, see `batch.load_propagator`; the default name is "learned", and
            that of the tracker for one such as `sam2:CHECKPOINT`. By default the propagator that
            ships, if any.

    Returns:
        The propagators by name, and what each was made from.

    Raises:
        AdapterError: If two have the same name.
        CheckpointError: If a file does not hold a propagator.
    """
    if not specs and WEIGHTS.is_file():
        specs = [str(WEIGHTS)]
    propagators: dict[str, Propagator] = {}
    about: dict[str, Any] = {}
    for spec in specs:
        given, path = _named(spec)
        name = given or (tracker_config(path) or {"type": "learned"})["type"]
        if name in propagators:
            raise AdapterError(
                f"There are two propagators named {name!r}. Name them: --propagator NAME={path}."
            )
        propagators[name] = load_propagator(path, "cpu")
        about[name] = about_file(Path(path)) or {"propagator": path}
    return propagators, about


def _named(spec: str) -> tuple[str, str]:
    found = re.fullmatch(r"([\w.-]+)=(.+)", spec)
    return (found[1], found[2]) if found else ("", spec)


def about_file(path: Path | None) -> dict[str, str]:
    """Return name and SHA-256 of a file, which do not depend on its folder."""
    if path is None or not path.is_file():
        return {}
    with path.open("rb") as file:
        return {"weights": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
