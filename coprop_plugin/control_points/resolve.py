"""Which control-point provider a user means."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coprop_plugin.errors import ControlPointError, CopropError
from coprop_plugin.limits import read_text
from coprop_plugin.registry import PROVIDERS, build
from coprop_plugin.types import ControlPointProvider


def as_provider(control_points: Any = "novelty") -> ControlPointProvider:
    """Return the provider that `wrap(control_points=...)` means.

    Args:
        control_points: A registered name, a config, the path of a JSON file with a config (an
            object with `type`) or with control points (see `FileProvider`), a provider,
            `ControlPoints`, or flags (one 0 or 1 per frame).

    Raises:
        UnknownNameError: If a name is not registered.
        ControlPointError: If a list is not flags, or a file's config makes no provider.
    """
    if isinstance(control_points, ControlPointProvider):
        return control_points
    if isinstance(control_points, Path) or (
        isinstance(control_points, str) and control_points.endswith(".json")
    ):
        config = _config_in(Path(control_points))
        if config is not None:
            return _of_file(config, Path(control_points))
        return build(PROVIDERS, {"type": "file", "path": control_points}, "propose")
    if isinstance(control_points, str | Mapping):
        return build(PROVIDERS, control_points, verb="propose")
    return build(PROVIDERS, "flags", flags=control_points)


def _of_file(config: Mapping[str, Any], path: Path) -> ControlPointProvider:
    """Build what a file says; whatever is wrong with that is the file's fault."""
    try:
        return build(PROVIDERS, config, "propose")
    except CopropError:
        raise
    except Exception as error:
        raise ControlPointError(
            f"{path} holds a config from which no provider can be made: {error}. Wanted an object "
            "with `type`, a name that `coprop list providers` says, and that provider's arguments."
        ) from error


def _config_in(path: Path) -> Mapping[str, Any] | None:
    """Return the config of a provider that a file holds, if it holds one."""
    try:
        content = json.loads(read_text(path, ControlPointError))
    except (OSError, ValueError, RecursionError):
        return None  # `FileProvider` says what is wrong with the file.
    return content if isinstance(content, dict) and "type" in content else None
