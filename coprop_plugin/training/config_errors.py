"""Errors of a training config: unknown names with near ones, and parts that cannot be built."""

import contextlib
import re
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import mmengine.runner  # noqa: F401  # It registers loops and schedulers.
from mmengine import registry as mmengine_registry
from mmengine.registry import Registry

from coprop_plugin import registry as ours
from coprop_plugin.errors import CopropError, TrainingError, UnknownNameError, did_you_mean

# mmengine meets them when it needs them, perhaps after hours, and answers some with a TypeError.
_PLACES = {
    "model": "MODELS",
    "optim_wrapper": "OPTIM_WRAPPERS",
    "optim_wrapper.optimizer": "OPTIMIZERS",
    "param_scheduler": "PARAM_SCHEDULERS",
    "default_hooks": "HOOKS",
    "custom_hooks": "HOOKS",
    "visualizer": "VISUALIZERS",
    **{f"{part}_cfg": "LOOPS" for part in ("train", "val", "test")},
    **{f"{part}_evaluator": "METRICS" for part in ("val", "test")},
    **{
        f"{part}_dataloader.{inner}": registry
        for part in ("train", "val", "test")
        for inner, registry in [
            ("dataset", "DATASETS"),
            ("sampler", "DATA_SAMPLERS"),
            ("batch_sampler", "DATA_SAMPLERS"),
            ("collate_fn", "FUNCTIONS"),
        ]
    },
}
_UNKNOWN = re.compile(r"(\S+) is not in the \S+?::(.+?) registry")


def check_names(config: Mapping[str, Any]) -> None:
    """Refuse names in a config that are not registered.

    Raises:
        UnknownNameError: With the names that are near.
        TrainingError: If a part is not a config.

    Example:
        >>> check_names({"train_cfg": {"type": "IterBasedTrainLop"}})
        Traceback (most recent call last):
            ...
        coprop_plugin.errors.UnknownNameError: 'IterBasedTrainLop' in `train_cfg` is not a \
registered loop. Did you mean IterBasedTrainLoop or EpochBasedTrainLoop? To add your own, name its \
module in `custom_imports`.
    """
    for place, name in _PLACES.items():
        registry = getattr(ours, name, getattr(mmengine_registry, name))
        part: Any = config
        for key in place.split("."):
            part = part.get(key) if isinstance(part, Mapping) else None
        _check(registry, place, part)


def _check(registry: Registry, place: str, part: Any) -> None:
    if isinstance(part, list | tuple):
        for inner in part:
            _check(registry, place, inner)
    elif isinstance(part, str):
        raise TrainingError(f"Expected dict(type=...) in `{place}`, got {part!r}. Write it so.")
    elif isinstance(part, Mapping) and "type" not in part:
        # Named parts, e.g. default hooks.
        for key, inner in part.items():
            if isinstance(inner, Mapping):
                _check(registry, f"{place}.{key}", inner)
    elif isinstance(part, Mapping):
        name = part["type"]
        # Others are looked up in other packages: they are named `package.Name`.
        if isinstance(name, str) and ("." not in name or name.startswith(f"{ours.SCOPE}.")):
            bare = name.removeprefix(f"{ours.SCOPE}.")
            if bare not in _names(registry):
                raise _unknown(bare, registry, f" in `{place}`")


def _names(registry: Registry | None) -> set[str]:
    names: set[str] = set()
    while registry is not None:
        # Ours name the modules to import; mmengine's own are filled by now.
        if registry.scope == ours.SCOPE:
            registry.import_from_location()
        names |= registry.module_dict.keys()
        registry = registry.parent
    return names


def _unknown(name: str, registry: Registry, place: str = "") -> UnknownNameError:
    known = sorted(_names(registry))
    hint = did_you_mean(name, known) or f" Registered are: {', '.join(known)}."
    return UnknownNameError(
        f"{name!r}{place} is not a registered {registry.name}.{hint} To add your own, name its "
        "module in `custom_imports`."
    )


@contextlib.contextmanager
def errors_of_the_config() -> Iterator[None]:
    """Report what cannot be built from a config as an error of the config.

    Raises:
        UnknownNameError: For a name that is not registered, e.g. of a nested part.
        TrainingError: For arguments that a part refuses.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        if isinstance(error, CopropError) or "build_from_cfg" not in frames:
            raise
        found = _UNKNOWN.search(str(error.args[0])) if error.args else None
        for registry in vars(mmengine_registry).values():
            if found and isinstance(registry, Registry) and registry.name == found[2]:
                child = registry.children.get(ours.SCOPE, registry)
                raise _unknown(found[1], child) from error
        raise TrainingError(
            f"A part of the config cannot be built: {type(error).__name__}: {error}. Correct its "
            "arguments in the config."
        ) from error
