"""The command line of a run, as text that runs it again."""

from collections.abc import Collection
from typing import Any

import typer


def command_of(context: typer.Context, leave_out: Collection[str] = ()) -> list[str]:
    """Return the words of a command whose values are not the defaults.

    Args:
        context: Of the command.
        leave_out: Names of parameters that do not matter for its results.
    """
    words = [context.info_name or ""]
    options: list[str] = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name in leave_out or value in (None, parameter.get_default(context), []):
            continue
        values = value if isinstance(value, list | tuple) else [value]
        if parameter.param_type_name == "argument":
            words += map(str, values)
        else:
            options += _option(parameter, values)
    return [*words, *options]


def _option(parameter: Any, values: Collection[Any]) -> list[str]:
    name = max(parameter.opts, key=len)
    if getattr(parameter, "is_flag", False):
        return [name]
    return [word for value in values for word in (name, str(value))]
