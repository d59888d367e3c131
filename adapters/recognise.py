"""Which adapter drives which model."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from coprop_plugin.errors import AdapterError, UnknownNameError
from coprop_plugin.registry import MODELS, find, list_backends, names
from coprop_plugin.types import KeyframeBackend

HELP = (
    'Name the adapter, as in `wrap(model, backend="tpavi")`; for a model of another family, wrap '
    'a function with `wrap(function, backend="callable")`, or see "Write an adapter" in the README.'
)


def find_backend(model: Any, backend: Any = "auto", **options: Any) -> KeyframeBackend:
    """Find the adapter of a model, and put it around the model.

    Args:
        model: The model to drive; with `"auto"` one that can `segment_keyframes` itself is used
            as it is.
        backend: `"auto"` asks every registered adapter whether it `accepts(model)`, by structure;
            else a registered name, an mmengine config (`type` and options), a class, or a backend,
            which is used as it is.
        **options: For the adapter's constructor, `context="frame"` say.

    Returns:
        The backend.

    Raises:
        AdapterError: If no adapter or more than one accepts the model, or `backend` is none of
            the above.
        UnknownNameError: If the name is not registered.

    Example:
        >>> find_backend(lambda frames, audio: frames[:, :1], "callable").num_classes
        1
    """
    if backend == "auto" and _is_backend(model):
        return _as_it_is(model, options)
    if _is_backend(backend):
        return _as_it_is(backend, options)
    if isinstance(backend, Mapping):
        options = {**backend, **options}
        backend = options.pop("type", "auto")
    if isinstance(backend, str):
        backend = _recognise(model) if backend == "auto" else _named(backend)
    if not isinstance(backend, type) or not hasattr(backend, "segment_keyframes"):
        raise AdapterError(
            f"Got backend={backend!r}; wanted 'auto', a registered name, a config, a class with "
            f"`segment_keyframes`, or an instance of one. Names: {', '.join(list_backends())}."
        )
    return _construct(backend, model, options)


def _construct(kind: type, model: Any, options: Mapping[str, Any]) -> KeyframeBackend:
    try:
        return kind(model, **options)
    except TypeError as error:
        if isinstance(error, AdapterError) or "argument" not in str(error):
            raise
        raise AdapterError(
            f"{kind.__name__} cannot be made with the options {sorted(options)}: {error}. See "
            f"`help({kind.__name__})` for those it has."
        ) from error


def _is_backend(candidate: Any) -> bool:
    return not isinstance(candidate, type) and hasattr(candidate, "segment_keyframes")


def _as_it_is(backend: Any, options: Mapping[str, Any]) -> Any:
    if options:
        raise AdapterError(
            f"Got a ready {type(backend).__name__} together with options {sorted(options)}, which "
            "would have no effect. Give them to its constructor instead."
        )
    return backend


def _named(name: str) -> type:
    try:
        return find(MODELS, name, "segment_keyframes")
    except UnknownNameError as error:
        raise UnknownNameError(f"{error} {HELP}") from error


def _recognise(model: Any) -> type:
    registered = {MODELS.module_dict[name] for name in names(MODELS, "accepts")}
    accepting = [kind for kind in registered if kind.accepts(model)]
    if len(accepting) == 1:
        return accepting[0]
    known = ", ".join(sorted(kind.__name__ for kind in registered))
    if accepting:
        both = " and ".join(sorted(kind.__name__ for kind in accepting))
        raise AdapterError(
            f"Got a {_describe(model)}, which more than one adapter accepts: {both}. {HELP}"
        )
    if callable(model) and not isinstance(model, nn.Module):
        raise AdapterError(
            f"Got {_describe(model)}, in which no adapter can recognise a model. If it maps frames "
            "[K, 3, H, W] and their sound to logits [K, C, h, w], say so: "
            '`wrap(function, backend="callable")`.'
        )
    raise AdapterError(
        f"Got a {_describe(model)}, which no adapter accepts. There are: {known}. {HELP}"
    )


def _describe(model: Any) -> str:
    kind = model if isinstance(model, type) else type(model)
    if isinstance(model, type):
        return f"class {kind.__name__} (an instance is wanted)"
    parts = [name for name, _ in model.named_children()] if isinstance(model, nn.Module) else []
    inside = f" with the parts {', '.join(parts[:8])}" if parts else ""
    return f"{getattr(model, '__name__', kind.__name__)}{inside}"
