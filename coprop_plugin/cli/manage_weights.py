"""`coprop weights`: pretrained models of other authors: what there is, and what is on this disk."""

import json
from typing import Annotated, Any

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import AsJson
from coprop_plugin.cli.output import complain, results_on_stdout, usage_errors

weights_app = typer.Typer(
    help="Pretrained models of other authors: list, download, find and delete them.",
    no_args_is_help=True,
)
app.add_typer(weights_app, name="weights")

Names = Annotated[
    list[str], typer.Argument(help="Short names (`coprop weights list`), or ids on the hub.")
]


@weights_app.command(name="list")
def list_weights(
    check: Annotated[
        bool, typer.Option("--check", help="Compute checksums of what is on this disk.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List models by short name, with size and licence, and which of them are on this disk."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.checkpoints import PRETRAINED_MODELS

        damaged = 0
        for model in PRETRAINED_MODELS:
            row = _row(model, check)
            damaged += row["state"] == "damaged"
            if as_json:
                print_result(json.dumps(row))
            else:
                print_result(
                    f"{row['name']:<17} {row['state']:<10} {row['size']:>7}  {row['licence']:<13} "
                    f"{row['checkpoint']}  ({row['uses']})"
                )
        if damaged:
            complain("Download damaged models again with `coprop weights get NAME`.")
            raise typer.Exit(1)


def _row(model: Any, check: bool) -> dict[str, Any]:
    """Return what is known of a model, and its state on this disk."""
    from coprop_plugin.checkpoints import cached_checkpoint, damaged_files
    from coprop_plugin.checkpoints.pretrained_models import size_text

    found = cached_checkpoint(model.checkpoint)
    state = "here" if found.folder else "incomplete" if found.size else "-"
    if found.folder and check and damaged_files(model.checkpoint):
        state = "damaged"
    return {
        "name": model.name,
        "state": state,
        "size": size_text(model.size_mb),
        "licence": model.licence,
        "gated": model.gated,
        "checkpoint": model.checkpoint,
        "uses": model.uses,
        "folder": str(found.folder) if found.folder else None,
        "bytes_on_disk": found.size,
    }


@weights_app.command()
def get(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Short names (`coprop weights list`), or ids on the hub."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="The models of a preset (`coprop list presets`).")
    ] = None,
) -> None:
    """Download models, or what is missing or damaged of them; print their folders."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.checkpoints import repair_checkpoint

        if not names and preset is None:
            raise typer.BadParameter("Expected names of models, or --preset NAME.")
        for checkpoint in [*_checkpoints(names or []), *_of_preset(preset)]:
            print_result(str(repair_checkpoint(checkpoint)))


@weights_app.command()
def where(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Short names or ids on the hub. Default: the folder of all downloads."),
    ] = None,
) -> None:
    """Print the folders of models on this disk."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.checkpoints import cache_folder, fetch_checkpoint

        if not names:
            print_result(str(cache_folder()))
        for checkpoint in _checkpoints(names or []):
            print_result(str(fetch_checkpoint(checkpoint, local_files_only=True)))


@weights_app.command()
def remove(names: Names) -> None:
    """Delete models from this disk, unfinished downloads included."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.checkpoints import remove_checkpoint
        from coprop_plugin.checkpoints.pretrained_models import size_text

        for checkpoint in _checkpoints(names):
            size = remove_checkpoint(checkpoint)
            print_result(f"{checkpoint}: deleted, {size_text(size / 1e6)}")


def _of_preset(name: str | None) -> list[str]:
    """Return the ids of the models of a preset.

    Raises:
        UnknownNameError: If no preset of that name names models.
    """
    from coprop_plugin.errors import UnknownNameError
    from coprop_plugin.pipeline.preset_costs import PRESET_COSTS

    costs = {str(cost.name): cost for cost in PRESET_COSTS}
    if name is not None and name not in costs:
        raise UnknownNameError(
            f"Expected a preset that names models, one of {', '.join(costs)}, got {name!r}."
        )
    return [model.checkpoint for model in costs[name].models] if name else []


def _checkpoints(names: list[str]) -> list[str]:
    """Return the ids of short names and ids; a mistyped name is refused before anything is done."""
    from coprop_plugin.checkpoints import find_pretrained, pretrained_model

    return [
        name if "/" in name and not find_pretrained(name) else pretrained_model(name).checkpoint
        for name in names
    ]
