"""`coprop train`: train a network from a config."""

import os
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import (
    Overrides,
    Sounds,
    TrainingAssets,
    WorkDir,
    overrides_of,
    with_material,
)
from coprop_plugin.cli.output import results_on_stdout, usage_errors


@app.command()
def train(
    config: Annotated[
        str,
        typer.Argument(help="An mmengine config file, or one that ships: world_keyframes_small."),
    ],
    work_dir: WorkDir = None,
    overrides: Overrides = None,
    sounds: Sounds = None,
    assets: TrainingAssets = None,
    resume: Annotated[
        bool, typer.Option(help="Resume from the last checkpoint in the work folder.")
    ] = False,
    amp: Annotated[bool, typer.Option(help="Train in mixed precision, on a GPU.")] = False,
) -> None:
    """Train a keyframe model, propagator or change detector; print the path of its weights."""
    with results_on_stdout() as print_result, usage_errors():
        changes = overrides_of(overrides)
        from coprop_plugin.training.run import train

        config = with_material(config, sounds, assets, work_dir)
        weights = train(config, work_dir, resume=resume, amp=amp, overrides=changes)
        if os.environ.get("RANK", "0") == "0":
            print_result(str(weights))
