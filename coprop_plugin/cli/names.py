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


@app.command(name="list")
def list_names(
    what: Annotated[What | None, typer.Argument(help="One of them only.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the names that --backend adapters, --control-points and --propagator know."""
    from coprop_plugin import registry

    with results_on_stdout() as print_result:
        wanted = [what] if what else list(What)
        found = {w.value: getattr(registry, f"list_{w.value}")() for w in wanted}
        if as_json:
            print_result(json.dumps(found))
        else:
            for kind, known in found.items():
                print_result(f"{kind}: {', '.join(known)}")
