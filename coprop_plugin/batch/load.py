"""From what a command line says to a wrapped model, and to who finds its control points."""

import importlib
import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from coprop_plugin.checkpoints import is_folder_or_id
from coprop_plugin.control_points.llm.cache import CachedLLM, replace_llms
from coprop_plugin.control_points.resolve import as_provider
from coprop_plugin.errors import AdapterError, CheckpointError, ControlPointError
from coprop_plugin.pipeline import CoProp
from coprop_plugin.pipeline.wrap import load_model, wrap
from coprop_plugin.types import ControlPointProvider

_HOW = (
    "Say `module:callable` or `file.py:callable`, where the callable is a function of "
    "(frames, audio) that returns logits, or makes a model when called without arguments (or with "
    "`weights`, if --weights is given)."
)

_HOW_POINTS = (
    "Say the name of a provider (`coprop list providers`), a JSON file of control points or of a "
    'config, a config itself (\'{"type": "every_n", "n": 5}\'), or `file.py:name`, a provider or a '
    "function that makes one."
)


def load_backend(spec: str, weights: str | Path | None = None) -> tuple[Any, str]:
    """Return a model and the adapter to use for it.

    Args:
        spec: The name of a model that `load_model` can read from `weights`, `"avsegformer"` say;
            or `module:callable` or `file.py:callable`. The callable may be a model or a
            `KeyframeBackend`, a function of two required arguments (frames and audio, see
            `CallableBackend`), or a function that makes any of these.
        weights: The model's weights, a file, a folder or "hf://owner/name"; handed to a function
            that makes a model, as `weights=`, files as a path.

    Returns:
        What to give to `wrap(model, backend=...)`.

    Raises:
        AdapterError: If there is no such callable, or it makes no model.
        CheckpointError: If `weights` is not a file, or does not fit the named model.
    """
    if weights is not None and not is_folder_or_id(weights):
        weights = Path(weights)
        if not weights.is_file():
            raise CheckpointError(f"Got --weights {weights}, which is not a file. Check the path.")
    place, colon, name = spec.rpartition(":")
    if not colon or not name:
        return _named(spec, weights), "auto"
    with _importable(place):
        return _model(find_callable(spec, "--backend", _HOW), spec, weights)


def find_callable(spec: str, option: str, how: str) -> Any:
    """Import what `module:name` or `file.py:name` names.

    Args:
        spec: What an option was given.
        option: Its name, for messages.
        how: What it should be given, for messages.

    Raises:
        AdapterError: If there is no such thing.
    """
    place, _, name = spec.rpartition(":")
    found = _import(place, f"{option} {spec!r}", how)
    for part in name.split("."):
        if not hasattr(found, part):
            raise AdapterError(f"Got {option} {spec!r}, but {place} has no {part!r}. {how}")
        found = getattr(found, part)
    return found


def load_provider(spec: str, cache: Path | None = None) -> ControlPointProvider:
    """Return the provider that a command line names.

    Args:
        spec: A registered name, a `.json` file, a config as JSON, or `module:name` or
            `file.py:name`, which is a provider or makes one when it is called.
        cache: Where the answers of a language model in it are kept; None keeps none.

    Raises:
        CopropError: If there is no such provider.

    Example:
        >>> load_provider('{"type": "every_n", "n": 3}').n
        3
    """
    provider: Any = spec
    if spec.lstrip().startswith("{"):
        try:
            provider = json.loads(spec)
        except ValueError as error:
            raise ControlPointError(
                f"Got {spec!r}, which is no JSON ({error}). {_HOW_POINTS}"
            ) from error
    elif ":" in spec and not spec.endswith(".json"):
        with _importable(spec.rpartition(":")[0]):
            provider = find_callable(spec, "--control-points", _HOW_POINTS)
            if not hasattr(provider, "propose") or isinstance(provider, type):
                provider = provider() if callable(provider) else provider
        if not isinstance(provider, ControlPointProvider):
            raise AdapterError(f"Got a {type(provider).__name__} from {spec!r}. {_HOW_POINTS}")
    provider = as_provider(provider)
    if cache is not None:
        replace_llms(provider, lambda llm: CachedLLM(llm, cache))
    return provider


def read_choice(text: str, option: str) -> float | str | dict[str, Any]:
    """Return what an option means that takes a number, a name, or options of it as JSON.

    Args:
        text: What it was given.
        option: Its name, for messages.

    Raises:
        ControlPointError: If it begins like JSON and is none.

    Example:
        >>> read_choice("1.5", "--reanchor"), read_choice("uncertain", "--reanchor")
        (1.5, 'uncertain')
    """
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ControlPointError(
                f"Got {option} {text!r}, which is no JSON ({error}). Say a number, a name, or "
                "'{\"type\": NAME, ...}'."
            ) from error
    try:
        return float(text)
    except ValueError:
        return text


def _named(name: str, weights: str | Path | None) -> Any:
    try:
        return load_model(name, weights)
    except AdapterError as error:
        raise AdapterError(f"{error} Or: {_HOW}") from error


@contextmanager
def _importable(place: str) -> Iterator[None]:
    """Import from the folder of a file, or the current one, until the model is made.

    Python does so for a script that it runs; console scripts lack even the current folder.
    """
    folder = str(Path(place).resolve().parent) if Path(place).suffix == ".py" else ""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _import(place: str, given: str, how: str) -> Any:
    path = Path(place)
    if path.suffix == ".py":
        if not path.is_file():
            raise AdapterError(f"Got {given}, but there is no file {path}. {how}")
        module_spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(module_spec)
        sys.modules.setdefault(path.stem, module)
        module_spec.loader.exec_module(module)
        return module
    try:
        return importlib.import_module(place)
    except ImportError as error:
        raise AdapterError(
            f"Got {given}, but {place} cannot be imported: {error}. {how}"
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


def make_model(
    backend: str,
    weights: str | Path | None = None,
    control_points: str = "novelty",
    propagator: str | None = None,
    device: str | None = None,
    reanchor: str | None = None,
    keyframe: str = "first",
    segment_batch: int = 1,
    number: int = 0,
) -> CoProp:
    """Make the wrapped model that a command line asks for.

    Args:
        backend: See `load_backend`.
        weights: Of the backend.
        control_points: See `load_provider`.
        propagator: As for `wrap`.
        device: Where to compute; by default on a GPU if there is any, models in turn on each.
        reanchor: As for `wrap`, see `read_choice`.
        keyframe: As for `wrap`, see `read_choice`.
        segment_batch: As for `wrap`.
        number: Which of several models on this machine it is.

    Raises:
        CopropError: If any part is not to be had.
    """
    made, adapter = load_backend(backend, weights)
    device = device or _default_device(number)
    if isinstance(made, torch.nn.Module):
        made = made.to(device).eval()
    return wrap(
        made,
        backend=adapter,
        control_points=load_provider(control_points),
        propagator=propagator,
        device=device,
        reanchor=None if reanchor is None else read_choice(reanchor, "--reanchor"),
        keyframe=read_choice(keyframe, "--keyframe"),
        segment_batch=segment_batch,
    )


def _default_device(number: int) -> str:
    if not torch.cuda.is_available():
        return "cpu"
    # torchrun and srun number the processes on each machine.
    local_rank = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))
    return f"cuda:{(int(local_rank) + number) % torch.cuda.device_count()}"
