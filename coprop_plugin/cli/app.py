"""The program `coprop`, to which every file of this package adds a command."""

from typing import Annotated

import typer

from coprop_plugin import __version__

app = typer.Typer(
    help="Gives any audio-visual segmentation model a sense of time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
