"""`coprop evaluate`: score trained weights."""

import json
from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import (
    AsJson,
    Overrides,
    Sounds,
    TrainingAssets,
    WorkDir,
    overrides_of,
    with_material,
)
from coprop_plugin.cli.output import results_on_stdout, usage_errors


@app.command()
def evaluate(
    config: Annotated[str, typer.Argument(help="The config that the weights were trained with.")],
    weights: Annotated[Path, typer.Option(help="Weights that `coprop train` wrote.")],
    work_dir: WorkDir = None,
    overrides: Overrides = None,
    sounds: Sounds = None,
    assets: TrainingAssets = None,
    as_json: AsJson = False,
) -> None:
    """Score trained weights on the test data of their config."""
    with results_on_stdout() as print_result, usage_errors():
        changes = overrides_of(overrides)
        from coprop_plugin.training.run import evaluate

        config = with_material(config, sounds, assets, work_dir)
        scores = evaluate(config, weights, work_dir, changes)
        if as_json:
            print_result(json.dumps(scores))
            return
        for name, score in scores.items():
            print_result(f"{name}: {score:.4f}" if isinstance(score, float) else f"{name}: {score}")
