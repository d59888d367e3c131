"""The command line of a run, as text that runs it again."""

from collections.abc import Collection
from typing import Any

import click


def command_of(context: click.Context, leave_out: Collection[str] = ()) -> list[str]:
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
        if isinstance(parameter, click.Argument):
            words += map(str, values)
        else:
            options += _option(parameter, values)
    return [*words, *options]


def _option(parameter: click.Parameter, values: Collection[Any]) -> list[str]:
    name = max(parameter.opts, key=len)
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return [name]
    return [word for value in values for word in (name, str(value))]
