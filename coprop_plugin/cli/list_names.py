"""`coprop list`: the names that options accept."""

import json
from typing import Annotated, Literal, get_args

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import AsJson
from coprop_plugin.cli.output import results_on_stdout

Kind = Literal["backends", "providers", "audio_llms", "propagators", "models"]
"""What `coprop list` lists."""


@app.command(name="list")
def list_names(
    kind: Annotated[Kind | None, typer.Argument(help="List only these.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the names that options accept, and the released models."""
    from dataclasses import asdict

    from coprop_plugin import registry
    from coprop_plugin.adapters.published import PUBLISHED

    with results_on_stdout() as print_result:
        kinds = [kind] if kind else get_args(Kind)
        names = {k: getattr(registry, f"list_{k}")() for k in kinds if k != "models"}
        models = PUBLISHED if "models" in kinds else []
        if as_json:
            tables = {"models": [asdict(model) for model in models]} if models else {}
            print_result(json.dumps(names | tables))
            return
        for known_kind, known in names.items():
            print_result(f"{known_kind}: {', '.join(known)}")
        for model in models:
            print_result(str(model))
