"""Finding the adapter of a model."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from coprop_plugin.adapters.upstream import look_through
from coprop_plugin.errors import AdapterError, UnknownNameError
from coprop_plugin.registry import MODELS, find, list_backends, names
from coprop_plugin.types import KeyframeBackend

HELP = (
    'Name the adapter, as in `wrap(model, backend="tpavi")`; for a model of another family, wrap '
    'a function with `wrap(function, backend="callable")`, or see "Write an adapter" in the docs.'
)
"""How to name an adapter, for messages."""


def find_backend(model: Any, backend: Any = "auto", **options: Any) -> KeyframeBackend:
    """Find the adapter of a model, and construct it around the model.

    Args:
        model: The model; with `"auto"`, one that has `segment_keyframes` itself is used as it is.
        backend: `"auto"` selects the registered adapter that `accepts(model)`, by its structure;
            else a registered name, an mmengine config (`type` and options), a class, or a backend,
            which is used as it is.
        **options: For the adapter's constructor, e.g. `context="frame"`.

    Returns:
        The backend.

    Raises:
        AdapterError: If no adapter or more than one accepts the model, or `backend` is not one of
            the above.
        UnknownNameError: If the name is not registered.

    Example:
        >>> find_backend(lambda frames, audio: frames[:, :1], "callable").num_classes
        1
    """
    if backend == "auto" and _is_backend(look_through(model)):
        return _as_it_is(look_through(model), options)
    if _is_backend(backend):
        return _as_it_is(backend, options)
    if isinstance(backend, Mapping):
        options = {**backend, **options}
        backend = options.pop("type", "auto")
    if isinstance(backend, str):
        backend = _recognise(model) if backend == "auto" else _named(backend)
    if not isinstance(backend, type) or not hasattr(backend, "segment_keyframes"):
        raise AdapterError(
            "Expected backend to be 'auto', a registered name, a config, a class with "
            f"`segment_keyframes`, or an instance of one, got {backend!r}. Names: "
            f"{', '.join(list_backends())}."
        )
    return _construct(backend, model, options)


def _construct(kind: type, model: Any, options: Mapping[str, Any]) -> KeyframeBackend:
    try:
        return kind(model, **options)
    except TypeError as error:
        if isinstance(error, AdapterError) or "argument" not in str(error):
            raise
        raise AdapterError(
            f"{kind.__name__} cannot be constructed with the options {sorted(options)}: {error}. "
            f"See `help({kind.__name__})` for its options."
        ) from error


def _is_backend(candidate: Any) -> bool:
    return not isinstance(candidate, type) and hasattr(candidate, "segment_keyframes")


def _as_it_is(backend: Any, options: Mapping[str, Any]) -> Any:
    if options:
        raise AdapterError(
            f"The options {sorted(options)} have no effect on an existing "
            f"{type(backend).__name__}. Pass them to its constructor instead."
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
        raise AdapterError(f"More than one adapter accepts a {_describe(model)}: {both}. {HELP}")
    if callable(model) and not isinstance(model, nn.Module):
        raise AdapterError(
            f"No adapter recognises {_describe(model)}. If it maps frames [K, 3, H, W] and audio "
            'to logits [K, C, h, w], use `wrap(function, backend="callable")`.'
        )
    raise AdapterError(f"No adapter recognises a {_describe(model)}. Available: {known}. {HELP}")


def _describe(model: Any) -> str:
    kind = model if isinstance(model, type) else type(model)
    if isinstance(model, type):
        return f"class {kind.__name__} (pass an instance)"
    parts = [name for name, _ in model.named_children()] if isinstance(model, nn.Module) else []
    inside = f" with the parts {', '.join(parts[:8])}" if parts else ""
    return f"{getattr(model, '__name__', kind.__name__)}{inside}"
