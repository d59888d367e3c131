"""Building the wrapped model, and its parts, that a command line names."""

import inspect
import json
import os
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, cast, get_args

import torch
from torch import nn

from coprop_plugin.batch.import_names import find_callable, importable, reported
from coprop_plugin.checkpoints import is_folder_or_id
from coprop_plugin.control_points.llm.cache import CachedLLM, replace_llms
from coprop_plugin.control_points.resolve import as_provider
from coprop_plugin.errors import AdapterError, CheckpointError, ControlPointError, did_you_mean
from coprop_plugin.layers import checked_device
from coprop_plugin.open_vocabulary import OpenVocabulary
from coprop_plugin.pipeline import CoProp
from coprop_plugin.pipeline.preset_options import (
    BY_PRESET,
    Keyframe,
    KeyframeName,
    Preset,
    Reanchor,
    ReanchorName,
    Silence,
)
from coprop_plugin.pipeline.wrap import load_model, wrap
from coprop_plugin.propagation.resolve import as_propagator
from coprop_plugin.propagation.video_trackers import tracker_config
from coprop_plugin.registry import MODELS, build
from coprop_plugin.types import ControlPointProvider, LazyPart, Propagator

_BACKENDS = (
    "Expected `module:callable` or `file.py:callable`, where the callable is a function of "
    "(frames, audio) that returns logits, a model, or a function that makes a model: one without "
    "required arguments besides `weights`, or with a return annotation like `-> torch.nn.Module`."
)
_PROVIDERS = (
    "Expected the name of a provider (`coprop list providers`), a JSON file of control points or "
    'of a config, a config itself (\'{"type": "every_n", "n": 5}\'), or `file.py:name`, a provider '
    "or a function that makes one."
)

_PROPAGATORS = (
    "Expected the name of a propagator (`coprop list propagators`), also with a checkpoint "
    "(`sam2:ID_OR_FOLDER`), a file of weights, a config as JSON, or `file.py:name`, a propagator "
    "(`hear`, `start`, `step`) or a function that makes one."
)

DEFAULT_BACKEND = "sounding_object"
"""The model that `coprop run` uses if none is named; it comes with the library."""

BackendChoice = Literal["auto", "callable"]
"""How `wrap` finds the adapter of a model, or that it is a function of frames and audio."""


def make_model(
    backend: str,
    weights: str | Path | None = None,
    control_points: str | None = None,
    propagator: str | None = None,
    device: str | None = None,
    reanchor: str | None = None,
    keyframe: str | None = None,
    segment_batch: int = 1,
    number: int = 0,
    silence: str | None = None,
    preset: str = "default",
) -> CoProp:
    """Build the wrapped model that a command line names.

    Args:
        backend: See `load_backend`.
        weights: Weights of the backend.
        control_points: See `load_provider`; None as for `wrap`.
        propagator: See `load_propagator`.
        device: Device of the model; by default the GPUs in turn, or the CPU without one.
        reanchor: As for `wrap`, see `read_choice`.
        keyframe: As for `wrap`, see `read_config`.
        segment_batch: As for `wrap`.
        number: Number of the model among several on this machine.
        silence: As for `wrap`.
        preset: As for `wrap`.

    Raises:
        CopropError: If a part cannot be built.
    """
    device = str(checked_device(device or _default_device(number)))
    again = _reanchor(reanchor)
    chosen = None if keyframe is None else _keyframe(keyframe)
    made, adapter = load_backend(backend, weights)
    if isinstance(made, nn.Module):
        made = made.to(device).eval()
    elif isinstance(made, OpenVocabulary):
        made.to(device)
    model = wrap(
        made,
        backend=adapter,
        control_points=None if control_points is None else load_provider(control_points),
        propagator=None if propagator is None else load_propagator(propagator, device),
        device=device,
        reanchor=again,
        keyframe=chosen,
        segment_batch=segment_batch,
        silence=cast(Silence, silence),
        preset=cast(Preset, preset),
    )
    for part in (model.backend, model.provider):
        if isinstance(part, LazyPart):
            part.load_models()
    return model


def _reanchor(text: str | None) -> Reanchor:
    if text is None:
        return BY_PRESET
    chosen = read_choice(text, "--reanchor")
    more = ", SECONDS above 0, or a config as JSON"
    _refuse_other_names(chosen, "--reanchor", (*get_args(ReanchorName), "never"), more)
    return None if chosen == "never" else cast(Reanchor, chosen)


def _keyframe(text: str) -> Keyframe:
    chosen = read_config(text, "--keyframe")
    _refuse_other_names(chosen, "--keyframe", get_args(KeyframeName), ", or a config as JSON")
    return cast(Keyframe, chosen)


def _refuse_other_names(chosen: Any, option: str, names: Sequence[str], more: str) -> None:
    """Refuse a name that an option does not take, in the words of the command line.

    Raises:
        ControlPointError: If it is not among these.
    """
    if isinstance(chosen, str) and chosen not in names:
        raise ControlPointError(
            f"Expected {option} to be {', '.join(names)}{more}; got {chosen!r}."
            f"{did_you_mean(chosen, names)}"
        )


def _default_device(number: int) -> str:
    if not torch.cuda.is_available():
        return "cpu"
    # torchrun and srun number the processes of each machine.
    local_rank = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))
    return f"cuda:{(int(local_rank) + number) % torch.cuda.device_count()}"


def load_backend(spec: str, weights: str | Path | None = None) -> tuple[Any, BackendChoice]:
    """Return a model and the adapter to use for it.

    Args:
        spec: The name of a model that `load_model` reads from `weights`, e.g. `"avsegformer"`; or
            `module:callable` or `file.py:callable`. The callable may be a model or a
            `KeyframeBackend`; a function of frames and audio (see `CallableBackend`); or a
            function that makes one of these: a class, a function without required arguments
            besides `weights`, or one whose return annotation is a model. Or a backend's config as
            JSON.
        weights: The model's weights, a file, a folder or "hf://owner/name"; passed to a function
            that makes a model as `weights=`, files as a path.

    Returns:
        The arguments `model` and `backend` of `wrap`.

    Raises:
        AdapterError: If there is no such callable, or it does not make a model.
        CheckpointError: If `weights` is not a file, or does not fit the named model.
    """
    if spec.lstrip().startswith("{"):
        config = read_json(spec, "--backend", _BACKENDS)
        return build(MODELS, config, verb="segment_keyframes"), "auto"
    if weights is not None and not is_folder_or_id(weights):
        weights = Path(weights)
        if not weights.is_file():
            raise CheckpointError(f"--weights {weights} is not a file. Check the path.")
    place, colon, name = spec.rpartition(":")
    if not colon or not name:
        return _named_model(spec, weights), "auto"
    with importable(place):
        return _called_or_made(find_callable(spec, "--backend", _BACKENDS), spec, weights)


def _called_or_made(found: Any, spec: str, weights: str | Path | None) -> tuple[Any, BackendChoice]:
    if _is_model(found):
        if weights is not None:
            raise AdapterError(
                f"--backend {spec!r} is a model, which has its own weights. Leave --weights out, "
                "or name a function that takes `weights` and makes the model."
            )
        return found, "auto"
    if not callable(found):
        raise AdapterError(f"--backend {spec!r} is a {type(found).__name__}. {_BACKENDS}")
    if _makes_a_model(found):
        return _made_by(found, spec, weights)
    if weights is not None:
        raise AdapterError(
            f"--backend {spec!r} was taken for a function of (frames, audio), which has no "
            f"--weights. {_BACKENDS}"
        )
    _check_takes_frames_and_audio(found, spec)
    return found, "callable"


def load_provider(spec: str, cache: Path | None = None) -> ControlPointProvider:
    """Return the provider that a command line names.

    Args:
        spec: A registered name, a `.json` file, a config as JSON, or `module:name` or
            `file.py:name`, which is a provider or makes one when it is called.
        cache: Folder for the answers of its language model; None keeps none.

    Raises:
        CopropError: If there is no such provider.

    Example:
        >>> load_provider('{"type": "every_n", "n": 3}').n
        3
    """
    provider: Any = spec
    if spec.lstrip().startswith("{"):
        provider = read_json(spec, "--control-points", _PROVIDERS)
    elif ":" in spec and not spec.endswith(".json"):
        provider = _part(spec, "--control-points", _PROVIDERS, ControlPointProvider)
    provider = as_provider(provider)
    if cache is not None:
        replace_llms(provider, lambda llm: CachedLLM(llm, cache))
    return provider


def load_propagator(spec: str, device: str | None = None) -> Propagator:
    """Return the propagator that a command line names.

    Args:
        spec: As `as_propagator` takes it, a config as JSON, or `module:name` or `file.py:name`,
            which is a propagator or makes one when it is called.
        device: Its device; by default a GPU if available.

    Raises:
        CopropError: If there is no such propagator.

    Example:
        >>> type(load_propagator("hold")).__name__
        'HoldPropagator'
    """
    propagator: Any = spec
    if spec.lstrip().startswith("{"):
        propagator = read_json(spec, "--propagator", _PROPAGATORS)
    elif ":" in spec and not is_folder_or_id(spec) and tracker_config(spec) is None:
        propagator = _part(spec, "--propagator", _PROPAGATORS, Propagator)
    propagator = as_propagator(propagator)
    if isinstance(propagator, nn.Module):
        propagator.to(checked_device(device or _default_device(0)))
    return propagator


def _part(spec: str, option: str, expected: str, kind: type) -> Any:
    """Return what `module:name` or `file.py:name` is, or makes when it is called."""
    with importable(spec.rpartition(":")[0]):
        part = find_callable(spec, option, expected)
        if inspect.isclass(part) or (callable(part) and not isinstance(part, kind)):
            with reported(f"{option} {spec!r} was called to make the part"):
                part = part()
    if not isinstance(part, kind):
        raise AdapterError(f"{option} {spec!r} gave a {type(part).__name__}. {expected}")
    return part


def read_choice(text: str, option: str) -> float | str | dict[str, Any]:
    """Return the value of an option that takes a number, a name, or a config as JSON.

    Args:
        text: The value as it was typed.
        option: The option, for messages.

    Raises:
        ControlPointError: If it begins like JSON but is not.

    Example:
        >>> read_choice("1.5", "--reanchor"), read_choice("uncertain", "--reanchor")
        (1.5, 'uncertain')
    """
    try:
        return float(text)
    except ValueError:
        return read_config(text, option)


def read_config(text: str, option: str) -> str | dict[str, Any]:
    """Return the value of an option that takes a name, or a config as JSON.

    Args:
        text: The value as it was typed.
        option: The option, for messages.

    Raises:
        ControlPointError: If it begins like JSON but is not.

    Example:
        >>> read_config("first", "--keyframe"), read_config('{"type": "confident"}', "--keyframe")
        ('first', {'type': 'confident'})
    """
    if not text.lstrip().startswith("{"):
        return text
    return read_json(text, option, "Expected a name, or '{\"type\": NAME, ...}'.")


def read_json(text: str, option: str, expected: str) -> dict[str, Any]:
    """Read the config that an option was given as JSON.

    Args:
        text: The value as it was typed; it begins with a brace.
        option: The option, for messages.
        expected: What the option takes, for messages.

    Raises:
        ControlPointError: If it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ControlPointError(f"{option} {text!r} is not JSON ({error}). {expected}") from error


def _named_model(name: str, weights: str | Path | None) -> nn.Module:
    try:
        return load_model(name, weights)
    except AdapterError as error:
        raise AdapterError(f"{error} {_BACKENDS}") from error


def _made_by(
    function: Callable[..., Any], spec: str, weights: str | Path | None
) -> tuple[Any, BackendChoice]:
    """Return what a function or class makes, and its adapter."""
    options = {} if weights is None else {"weights": weights}
    with reported(
        f"--backend {spec!r} was called with {'weights=' if options else 'no arguments'}, because "
        "it declares that it makes a model or has no other required argument",
        _BACKENDS,
    ):
        made = function(**options)
    if _is_model(made):
        return made, "auto"
    if callable(made):
        _check_takes_frames_and_audio(made, spec)
        return made, "callable"
    raise AdapterError(
        f"--backend {spec!r} was called to make a model and returned a {type(made).__name__}. "
        f"{_BACKENDS}"
    )


def _is_model(thing: Any) -> bool:
    if inspect.isclass(thing):
        return False
    return isinstance(thing, nn.Module) or hasattr(thing, "segment_keyframes")


def _makes_a_model(function: Callable[..., Any]) -> bool:
    """Whether to call something for a model, rather than as a function of frames and audio.

    So are classes, functions whose return annotation is a model, and functions without required
    arguments besides `weights`.
    """
    if inspect.isclass(function):
        return True
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return False
    if _is_kind_of_model(_returned_by(function, signature)):
        return True
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = signature.parameters.values()
    required = {
        p.name for p in parameters if p.kind in kinds and p.default is inspect.Parameter.empty
    }
    takes_any = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    return not takes_any and required <= {"weights"}


def _returned_by(function: Callable[..., Any], signature: inspect.Signature) -> Any:
    """Return the return annotation of a function, resolved if it is text."""
    try:
        return typing.get_type_hints(function).get("return")
    except Exception:  # Names in it may be unknown, and objects have no hints.
        return signature.return_annotation


def _is_kind_of_model(annotation: Any) -> bool:
    if isinstance(annotation, UnionType) or typing.get_origin(annotation) is typing.Union:
        return any(map(_is_kind_of_model, typing.get_args(annotation)))
    if Callable in (annotation, typing.get_origin(annotation)):
        return True
    is_class = inspect.isclass(annotation)
    return is_class and (
        issubclass(annotation, nn.Module) or hasattr(annotation, "segment_keyframes")
    )


def _check_takes_frames_and_audio(function: Callable[..., Any], spec: str) -> None:
    """Refuse a function that cannot be called as `function(frames, audio)`.

    Raises:
        AdapterError: If it cannot.
    """
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        raise AdapterError(
            f"--backend {spec!r} was taken for a function of (frames, audio), but cannot be called "
            f"as one: {error}. {_BACKENDS}"
        ) from error
    except ValueError:
        return  # Its signature is not known.
