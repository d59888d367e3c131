"""From a name, a config, a file or flags to a control-point provider."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from coprop_plugin.choices import DEFAULT_POINTS
from coprop_plugin.errors import ControlPointError, CopropError
from coprop_plugin.limits import read_text
from coprop_plugin.registry import PROVIDERS, build
from coprop_plugin.types import ControlPointProvider, ControlPoints
from coprop_plugin.types.annotation import SUFFIXES

ProviderSource = (
    ControlPointProvider | str | Path | Mapping[str, Any] | ControlPoints | Sequence[int] | Tensor
)
"""What `wrap(control_points=...)` takes; see `as_provider`."""


def as_provider(control_points: ProviderSource = DEFAULT_POINTS) -> ControlPointProvider:
    """Return the provider that a user names or hands in.

    Args:
        control_points: A registered name, a config, the path of a JSON file with a config (an
            object with `type`), the path of a file with control points or annotations (see
            `FileProvider`), a provider, `ControlPoints`, or flags (one 0 or 1 per frame).

    Raises:
        UnknownNameError: If a name is not registered.
        ArgumentError: If a config lacks an argument of its provider, or has others.
        ControlPointError: If a list is not flags, or a file's config makes no provider.

    Example:
        >>> as_provider({"type": "every_n", "n": 3}).n
        3
    """
    if isinstance(control_points, ControlPointProvider):
        return control_points
    if isinstance(control_points, Path) or (
        isinstance(control_points, str) and control_points.lower().endswith((".json", *SUFFIXES))
    ):
        config = _config_in(Path(control_points))
        if config is not None:
            return _of_file(config, Path(control_points))
        return build(PROVIDERS, {"type": "file", "path": control_points}, "propose")
    if isinstance(control_points, str | Mapping):
        return build(PROVIDERS, control_points, verb="propose")
    return build(PROVIDERS, "flags", flags=control_points)


def _of_file(config: Mapping[str, Any], path: Path) -> ControlPointProvider:
    """Build the provider of a file's config; any error is reported as one of the file."""
    try:
        return build(PROVIDERS, config, "propose")
    except CopropError:
        raise
    except Exception as error:
        raise ControlPointError(
            f"Expected a provider's config in {path}, got one that fails: {error}. Write an object "
            "with `type`, a name that `coprop list providers` shows, and that provider's arguments."
        ) from error


def _config_in(path: Path) -> Mapping[str, Any] | None:
    """Return the config of a provider in a file; None if the file holds anything else."""
    try:
        content = json.loads(read_text(path, ControlPointError))
    except (OSError, ValueError, RecursionError):
        return None  # `FileProvider` reports what is wrong with the file.
    return content if isinstance(content, dict) and "type" in content else None
