"""`coprop tracks`: score instance tracks of any model."""

import json
from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import AsJson
from coprop_plugin.cli.output import results_on_stdout, usage_errors


@app.command()
def tracks(
    results: Annotated[Path, typer.Argument(help="A model's results, a list in JSON.")],
    truth: Annotated[Path, typer.Argument(help="The data set's file, `test.json` of AVISeg say.")],
    as_json: AsJson = False,
) -> None:
    """Score instance tracks: mAP, HOTA and FSLA, as AVISeg publishes them."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.benchmark.datasets.instances_file import (
            overlapping,
            read_instances,
            read_predicted_tracks,
        )
        from coprop_plugin.benchmark.metrics.instance_tracks import track_scores

        classes, videos = read_instances(truth)
        found = read_predicted_tracks(results)
        scores = track_scores(list(overlapping(videos, found)), max(classes))
        if as_json:
            print_result(json.dumps(scores))
            return
        for name, score in scores.items():
            print_result(f"{name:<14} {'-' if score is None else f'{100 * score:6.2f}'}")
