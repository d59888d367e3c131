"""`coprop convert`: released checkpoints as safetensors."""

from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.output import results_on_stdout, usage_errors


@app.command()
def convert(
    weights: Annotated[Path, typer.Argument(help="A released AVS checkpoint, as downloaded.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The safetensors file to write.")],
    family: Annotated[
        str | None,
        typer.Option(help="tpavi, avsegformer or catr. Default: recognised by names in the file."),
    ] = None,
    half: Annotated[bool, typer.Option(help="Store weights in 16 bits.")] = False,
) -> None:
    """Write all weights of a released AVS model as safetensors."""
    with results_on_stdout() as print_result, usage_errors():
        import torch

        from coprop_plugin.adapters.convert import convert

        dtype = torch.float16 if half else None
        print_result(str(convert(weights, out, family, dtype)))
