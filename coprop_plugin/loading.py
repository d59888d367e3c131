"""From what a command line says to a wrapped model."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coprop_plugin.errors import AdapterError, CheckpointError
from coprop_plugin.wrapping import load_model

_HOW = (
    "Say `module:callable` or `file.py:callable`, where the callable is a function of "
    "(frames, audio) that returns logits, or makes a model when called without arguments (or with "
    "`weights`, if --weights is given)."
)


def load_backend(spec: str, weights: str | Path | None = None) -> tuple[Any, str]:
    """Return a model and the adapter to use for it.

    Args:
        spec: The name of a model that `load_model` can read from `weights`, `"avsegformer"` say;
            or `module:callable` or `file.py:callable`. The callable may be a model or a
            `KeyframeBackend`, a function of two required arguments (frames and audio, see
            `CallableBackend`), or a function that makes any of these.
        weights: The model's weights; handed to a function that makes a model, as `weights=`.

    Returns:
        What to give to `wrap(model, backend=...)`.

    Raises:
        AdapterError: If there is no such callable, or it makes no model.
        CheckpointError: If `weights` is not a file, or does not fit the named model.
    """
    if weights is not None and not Path(weights).is_file():
        raise CheckpointError(f"Got --weights {weights}, which is not a file. Check the path.")
    place, colon, name = spec.rpartition(":")
    if not colon or not name:
        return _named(spec, weights), "auto"
    found = _import(place, spec)
    for part in name.split("."):
        if not hasattr(found, part):
            raise AdapterError(f"Got --backend {spec!r}, but {place} has no {part!r}. {_HOW}")
        found = getattr(found, part)
    return _model(found, spec, weights)


def _named(name: str, weights: str | Path | None) -> Any:
    try:
        return load_model(name, weights)
    except AdapterError as error:
        raise AdapterError(f"{error} Or: {_HOW}") from error


def _import(place: str, spec: str) -> Any:
    path = Path(place)
    if path.suffix == ".py":
        if not path.is_file():
            raise AdapterError(f"Got --backend {spec!r}, but there is no file {path}. {_HOW}")
        # Files beside it must be importable, as they are when Python runs it.
        sys.path.insert(0, str(path.resolve().parent))
        module_spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(module_spec)
        sys.modules.setdefault(path.stem, module)
        module_spec.loader.exec_module(module)
        return module
    # Console scripts do not have the current folder on their path; `python -m` does.
    sys.path.insert(0, "")
    try:
        return importlib.import_module(place)
    except ImportError as error:
        raise AdapterError(
            f"Got --backend {spec!r}, but {place} cannot be imported: {error}. {_HOW}"
        ) from error


def _model(found: Any, spec: str, weights: str | Path | None) -> tuple[Any, str]:
    if _is_model(found):
        if weights is not None:
            raise AdapterError(
                f"Got --weights with --backend {spec!r}, which is a model already. Name a "
                "function that takes `weights` and makes the model."
            )
        return found, "auto"
    if not callable(found):
        raise AdapterError(f"Got --backend {spec!r}, a {type(found).__name__}. {_HOW}")
    if not inspect.isclass(found) and len(_required(found)) == 2:
        return found, "callable"
    made = found() if weights is None else found(weights=weights)
    if _is_model(made):
        return made, "auto"
    if callable(made) and len(_required(made)) == 2:
        return made, "callable"
    raise AdapterError(f"Got a {type(made).__name__} from --backend {spec!r}. {_HOW}")


def _is_model(thing: Any) -> bool:
    from torch import nn

    if inspect.isclass(thing):
        return False
    return isinstance(thing, nn.Module) or hasattr(thing, "segment_keyframes")


def _required(function: Any) -> Mapping[str, inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind in kinds and parameter.default is inspect.Parameter.empty
    }
