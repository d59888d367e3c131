"""`coprop list`: the names that options accept."""

import json
from typing import Annotated, Literal, get_args

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import AsJson
from coprop_plugin.cli.output import results_on_stdout

Kind = Literal["backends", "providers", "audio_llms", "propagators", "models", "presets"]
"""What `coprop list` lists."""

_TABLES = ("models", "presets")


@app.command(name="list")
def list_names(
    kind: Annotated[Kind | None, typer.Argument(help="List only these.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the names that options accept, the released models, and what presets cost."""
    from dataclasses import asdict

    from coprop_plugin import registry
    from coprop_plugin.adapters.published import PUBLISHED, RUN_BY_THEIR_CODE
    from coprop_plugin.pipeline.preset_costs import PRESET_COSTS

    with results_on_stdout() as print_result:
        kinds = [kind] if kind else get_args(Kind)
        names = {k: getattr(registry, f"list_{k}")() for k in kinds if k not in _TABLES}
        models = [*PUBLISHED, *RUN_BY_THEIR_CODE] if "models" in kinds else []
        presets = PRESET_COSTS if "presets" in kinds else []
        if as_json:
            tables = {"models": [asdict(model) for model in models]} if models else {}
            costs = {"presets": [preset.to_dict() for preset in presets]} if presets else {}
            print_result(json.dumps(names | tables | costs))
            return
        for known_kind, known in names.items():
            print_result(f"{known_kind}: {', '.join(known)}")
        for row in (*models, *presets):
            print_result(str(row))
