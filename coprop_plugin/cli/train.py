"""`coprop train` and `coprop evaluate`."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import AsJson, WorkDir
from coprop_plugin.cli.output import results_on_stdout, usage_errors


@app.command()
def train(
    config: Annotated[
        str, typer.Argument(help="An mmengine config file, or one of ours: world_keyframes_small.")
    ],
    work_dir: WorkDir = None,
    resume: Annotated[
        bool, typer.Option(help="Go on from the last checkpoint in the work folder.")
    ] = False,
    amp: Annotated[bool, typer.Option(help="Train in mixed precision, on a GPU.")] = False,
) -> None:
    """Train a keyframe processor or a propagator, and print where its weights are."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.training.run import train

        weights = train(config, work_dir, resume=resume, amp=amp)
        if os.environ.get("RANK", "0") == "0":
            print_result(str(weights))


@app.command()
def evaluate(
    config: Annotated[str, typer.Argument(help="The config that the weights were trained with.")],
    weights: Annotated[Path, typer.Option(help="What `coprop train` wrote.")],
    work_dir: WorkDir = None,
    as_json: AsJson = False,
) -> None:
    """Score trained weights on the test data of their config."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.training.run import evaluate

        scores = evaluate(config, weights, work_dir)
        if as_json:
            print_result(json.dumps(scores))
        else:
            for name, score in scores.items():
                print_result(
                    f"{name}: {score:.4f}" if isinstance(score, float) else f"{name}: {score}"
                )
