"""`coprop anchor`: control points alone."""

from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import AsJson, Fps, Inputs, Points, SamplingName, SamplingOption
from coprop_plugin.cli.output import finish, report, results_on_stdout, usage_errors


@app.command()
def anchor(
    inputs: Inputs,
    control_points: Points = "novelty",
    fps: Fps = 1.0,
    sampling: SamplingOption = SamplingName.pts,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write OUT/<name>.json as well.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find control points only: the times at which the set of sounding objects changes."""
    from coprop_plugin import batch

    with results_on_stdout() as print_result, usage_errors():
        paths = batch.find_inputs(inputs)
        outcomes = batch.anchor_many(control_points, paths, out, fps or None, sampling.value)
        finish(report(outcomes, print_result, as_json))
