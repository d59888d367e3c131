"""`coprop list`: the names that options take."""

import json
from enum import StrEnum
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import AsJson
from coprop_plugin.cli.output import results_on_stdout


class What(StrEnum):
    """What `coprop list` can list."""

    backends = "backends"
    providers = "providers"
    audio_llms = "audio_llms"
    propagators = "propagators"
    models = "models"


@app.command(name="list")
def list_names(
    what: Annotated[What | None, typer.Argument(help="One of them only.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the names that options know, and the released models."""
    from dataclasses import asdict

    from coprop_plugin import registry
    from coprop_plugin.adapters.published import PUBLISHED

    with results_on_stdout() as print_result:
        wanted = [what] if what else list(What)
        names = {
            w.value: getattr(registry, f"list_{w.value}")() for w in wanted if w is not What.models
        }
        models = PUBLISHED if What.models in wanted else []
        if as_json:
            tables = {"models": [asdict(model) for model in models]} if models else {}
            print_result(json.dumps(names | tables))
            return
        for kind, known in names.items():
            print_result(f"{kind}: {', '.join(known)}")
        for model in models:
            print_result(str(model))
