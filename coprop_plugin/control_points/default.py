"""Which control-point provider a user means."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coprop_plugin.registry import PROVIDERS, build
from coprop_plugin.types import ControlPointProvider


def as_provider(control_points: Any = "novelty") -> ControlPointProvider:
    """Return the provider that `wrap(control_points=...)` means.

    Args:
        control_points: A registered name, the path of a JSON file (see `FileProvider`), a config,
            a provider, `ControlPoints`, or flags (one 0 or 1 per frame).

    Raises:
        UnknownNameError: If a name is not registered.
        ControlPointError: If a list is not flags.
    """
    if isinstance(control_points, ControlPointProvider):
        return control_points
    if isinstance(control_points, Path) or (
        isinstance(control_points, str) and control_points.endswith(".json")
    ):
        return build(PROVIDERS, "file", path=control_points)
    if isinstance(control_points, str | Mapping):
        return build(PROVIDERS, control_points, verb="propose")
    return build(PROVIDERS, "flags", flags=control_points)
