"""The registries, children of mmengine's with the scope `coprop_plugin`.

A registered class is found by its name from any mmengine config as `coprop_plugin.<Name>`, without
importing this package first: mmengine imports `coprop_plugin.registry`, and `locations` says which
modules to import at the first look-up. Nothing heavy is imported before that.

    MODELS      backends (have `accepts`), propagators (have `step`), audio encoders, `CoProp`
    PROVIDERS   control-point providers; called with a config, they must have `propose(clip)`
    AUDIO_LLMS  clients of audio language models; they must have `chat(messages, ...)`
    DATASETS    clips with their true masks
    METRICS     metrics of predictions and truth, for an mmengine evaluator
    the others  samplers, hooks, loops ... of this library; an mmengine Runner whose default scope
                is `coprop_plugin` needs a registry for everything it builds
"""

import importlib
import importlib.metadata
import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mmengine import registry as mmengine_registry
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

from coprop_plugin.errors import ArgumentError, UnknownNameError, did_you_mean

SCOPE = "coprop_plugin"


def _warn_of_two_stacks() -> None:
    """Warn if OpenMMLab's own packages and the maintained ones own the same folders."""
    for name in ("mmengine", "mmcv", "mmsegmentation"):
        try:
            importlib.metadata.version(name)
            importlib.metadata.version(f"onedl-{name}")
        except importlib.metadata.PackageNotFoundError:
            continue
        warnings.warn(
            f"Both {name} and onedl-{name} are installed. They overwrite each other's files, and "
            "uninstalling either removes both. Use a fresh environment with one of them; see "
            '"Both mmengine and onedl-mmengine" in docs/troubleshooting.md.',
            stacklevel=3,
        )


_warn_of_two_stacks()


def _child(name: str, *locations: str) -> Registry:
    root = getattr(mmengine_registry, name)
    return Registry(root.name, parent=root, scope=SCOPE, locations=list(locations))


MODELS = _child(
    "MODELS",
    "coprop_plugin.pipeline",
    "coprop_plugin.adapters.registered",
    "coprop_plugin.keyframes",
    "coprop_plugin.open_vocabulary",
    "coprop_plugin.propagation",
    "coprop_plugin.audio.vggish",
)
"""Keyframe backends, propagators, audio encoders, and the pipeline `CoProp`."""

DATASETS = _child(
    "DATASETS",
    "coprop_plugin.benchmark.datasets",
    "coprop_plugin.world.frames",
    "coprop_plugin.world.clips",
    "coprop_plugin.world.photographic_clips",
    "coprop_plugin.world.seconds",
    "coprop_plugin.training.change_dataset",
    "coprop_plugin.training.refiner_examples",
)
"""Clips with their true masks, and training data."""

METRICS = _child("METRICS", "coprop_plugin.benchmark.metrics.mmengine_metrics")
"""Metrics of predictions and truth, for an mmengine evaluator."""

DATA_SAMPLERS = _child("DATA_SAMPLERS")
EVALUATOR = _child("EVALUATOR")
FUNCTIONS = _child("FUNCTIONS")
HOOKS = _child("HOOKS")
INFERENCERS = _child("INFERENCERS")
LOG_PROCESSORS = _child("LOG_PROCESSORS")
LOOPS = _child("LOOPS")
MODEL_WRAPPERS = _child("MODEL_WRAPPERS")
OPTIMIZERS = _child("OPTIMIZERS")
OPTIM_WRAPPERS = _child("OPTIM_WRAPPERS")
OPTIM_WRAPPER_CONSTRUCTORS = _child("OPTIM_WRAPPER_CONSTRUCTORS")
PARAM_SCHEDULERS = _child("PARAM_SCHEDULERS")
RUNNERS = _child("RUNNERS")
RUNNER_CONSTRUCTORS = _child("RUNNER_CONSTRUCTORS")
STRATEGIES = _child("STRATEGIES")
TASK_UTILS = _child("TASK_UTILS")
TRANSFORMS = _child("TRANSFORMS")
VISBACKENDS = _child("VISBACKENDS")
VISUALIZERS = _child("VISUALIZERS")
WEIGHT_INITIALIZERS = _child("WEIGHT_INITIALIZERS")

PROVIDERS = Registry(
    "control point provider",
    parent=TASK_UTILS,
    scope=SCOPE,
    locations=[
        "coprop_plugin.control_points.providers",
        "coprop_plugin.control_points.clap",
        "coprop_plugin.control_points.ensemble",
        "coprop_plugin.control_points.gate",
        "coprop_plugin.control_points.learned_changes",
        "coprop_plugin.control_points.sed",
        "coprop_plugin.control_points.strategies",
    ],
)
"""Control-point providers: built from a config, each has `propose(clip) -> ControlPoints`."""

AUDIO_LLMS = Registry(
    "audio language model",
    scope=SCOPE,
    locations=["coprop_plugin.control_points.llm", "coprop_plugin.control_points.llm.cache"],
)
"""Audio language models: built from a config, each has `chat(messages, waveform, ...) -> str`."""


Verb = Literal[
    "segment_keyframes", "accepts", "step", "conv_map", "propose", "chat", "masks", "__getitem__"
]
"""A method that a registered class must have to be built for a role."""

_ROLES: dict[str, str] = {
    "segment_keyframes": "backend",
    "step": "propagator",
    "conv_map": "audio encoder",
}


def names(registry: Registry, verb: Verb | None = None) -> list[str]:
    """Return the registered names, sorted; with a `verb`, only of classes with such a method.

    Example:
        >>> from coprop_plugin.registry import MODELS, names
        >>> "tpavi" in names(MODELS, "segment_keyframes")
        True
    """
    registry.import_from_location()
    return sorted(
        name for name, kind in registry.module_dict.items() if hasattr(kind, verb or "__class__")
    )


def short_names(registry: Registry, verb: Verb | None = None) -> list[str]:
    """Return the shortest name of each registered class, sorted, for messages."""
    shortest: dict[type, str] = {}
    for name in sorted(names(registry, verb), key=len, reverse=True):
        shortest[registry.module_dict[name]] = name
    return sorted(shortest.values())


def list_backends() -> list[str]:
    """Return the names that `wrap(backend=...)` accepts.

    Example:
        >>> {"avsegformer", "catr", "tpavi", "mmseg", "callable"} <= set(list_backends())
        True
    """
    return short_names(MODELS, "segment_keyframes")


def list_providers() -> list[str]:
    """Return the names that `wrap(control_points=...)` accepts.

    Example:
        >>> {"novelty", "every_n", "file", "rcpg"} <= set(list_providers())
        True
    """
    return short_names(PROVIDERS, "propose")


def list_audio_llms() -> list[str]:
    """Return the names of the clients of audio language models.

    Example:
        >>> {"qwen2_audio", "openai_compatible", "callable"} <= set(list_audio_llms())
        True
    """
    return short_names(AUDIO_LLMS, "chat")


def list_propagators() -> list[str]:
    """Return the names that `wrap(propagator=...)` accepts.

    Example:
        >>> {"audio_insert", "flow", "hold"} <= set(list_propagators())
        True
    """
    return short_names(MODELS, "step")


def build(
    registry: Registry, config: str | Mapping[str, Any], verb: Verb | None = None, **defaults: Any
) -> Any:
    """Build a registered object from its name or from an mmengine config.

    Args:
        registry: One of this module's registries.
        config: A registered name, or a mapping whose `type` is one (or the class itself). Names
            may carry the scope (`coprop_plugin.Novelty`).
        verb: A method that the object must have, e.g. `"segment_keyframes"`. Names of other classes
            in the same registry count as unknown.
        **defaults: Constructor arguments that the config may override.

    Returns:
        The new object.

    Raises:
        UnknownNameError: If the name is not registered; the message lists the names that are.
        ArgumentError: If a required argument is missing, or one is not known; it says which.

    Example:
        >>> from coprop_plugin.registry import PROVIDERS, build
        >>> build(PROVIDERS, dict(type="every_n", n=5)).n
        5
    """
    arguments = {"type": config} if isinstance(config, str) else dict(config)
    if "type" not in arguments:
        raise UnknownNameError(
            f"Expected a config of a {_role(registry, verb)} with `type`, one of "
            f"{', '.join(short_names(registry, verb))}, got {arguments}."
        )
    for value in arguments.values():
        _refuse_importable(registry, value)
    kind = arguments.pop("type")
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
    if isinstance(kind, str):
        kind = find(registry, kind, verb)
    arguments = {**defaults, **arguments}
    _check_arguments(kind, name, arguments)
    return kind(**arguments)


def _check_arguments(kind: Any, name: str, arguments: Mapping[str, Any]) -> None:
    try:
        known = inspect.signature(kind).parameters
    except (TypeError, ValueError):  # builtins may have no signature
        return
    named = [p for p in known.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    missing = [p.name for p in named if p.default is p.empty and p.name not in arguments]
    if missing:
        example = ", ".join(f'"{key}": ...' for key in ("type", *missing)).replace(
            "...", f'"{name}"', 1
        )
        raise ArgumentError(
            f"{name!r} needs {_listed(missing)}. Use a config, {{{example}}}; on the command line, "
            "the path of a JSON file with that config in place of the name."
        )
    names = [p.name for p in named]
    unknown = [key for key in arguments if key not in names]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        raise ArgumentError(
            f"{name!r} does not take {_listed(unknown)}. Its arguments are: "
            f"{', '.join(names) or 'none'}."
        )


def _listed(arguments: Sequence[str]) -> str:
    return f"the argument{'s'[: len(arguments) - 1]} {', '.join(f'`{a}`' for a in arguments)}"


def _refuse_importable(registry: Registry, value: Any) -> None:
    """Refuse nested configs whose `type` names something that is importable but not registered.

    What is built from them may look such names up in a registry of mmengine, which imports them.
    """
    if isinstance(value, Mapping):
        name = value.get("type")
        if isinstance(name, str) and "." in name and not _is_registered(registry, name):
            raise UnknownNameError(
                f"{name!r} is not a registered name. A config can only name registered classes: "
                "register yours with a registry's `register_module()`, or build the object in "
                "Python and pass it."
            )
        value = [*value.values()]
    if isinstance(value, list | tuple):
        for inner in value:
            _refuse_importable(registry, inner)


def _is_registered(registry: Registry, name: str) -> bool:
    """Whether a registry of ours, of mmengine or of an OpenMMLab package has a scoped name."""
    scope, _, rest = name.partition(".")
    if scope in (SCOPE, registry.root.scope):
        return "." not in rest
    if scope not in MODULE2PACKAGE:
        return False
    try:
        # Importing it enters its registries into mmengine's.
        module = importlib.import_module(f"{scope}.registry")
    except ImportError:
        return False
    for other in vars(module).values():
        if isinstance(other, Registry):
            other.import_from_location()
            if rest in other.module_dict:
                return True
    return False


def find(registry: Registry, name: str, verb: Verb | None = None) -> type:
    """Return the class that is registered under a name, with or without the scope in front.

    Raises:
        UnknownNameError: If there is none with a method `verb`; the message lists the names.

    Example:
        >>> find(PROVIDERS, "coprop_plugin.every_n").__name__
        'EveryNProvider'
    """
    known = names(registry, verb)
    bare_name = name.removeprefix(f"{SCOPE}.")
    if bare_name in known:
        return registry.module_dict[bare_name]
    found = _of_another_scope(registry, bare_name)
    if found is None or not hasattr(found, verb or "__class__"):
        near = did_you_mean(bare_name, known)
        raise UnknownNameError(
            f"{name!r} is not a registered {_role(registry, verb)}.{near} Registered are: "
            f"{', '.join(short_names(registry, verb))}. To add your own, decorate its class with "
            "the registry's `register_module()` and import that module first."
        )
    return found


def _role(registry: Registry, verb: Verb | None) -> str:
    return _ROLES.get(verb or "", registry.name)


def _of_another_scope(registry: Registry, name: str) -> type | None:
    """Return the class of a name such as `mmseg.DiceLoss`, if mmseg's registry has it.

    `registry.get` would accept any importable name, e.g. `subprocess.Popen`, and configs may come
    from untrusted files.
    """
    scope, _, rest = name.partition(".")
    if not _is_registered(registry, name):
        return None
    other = {registry.root.scope: registry.root, **registry.root.children}.get(scope)
    if other is None or not rest:
        return None
    other.import_from_location()
    return other.module_dict.get(rest)
