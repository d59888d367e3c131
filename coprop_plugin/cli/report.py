"""`coprop report`: a page with video, sound, control points and masks of every run."""

from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import AsJson, ClassNames, Video
from coprop_plugin.cli.output import finish, print_outcomes, results_on_stdout, usage_errors


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Results folders, or folders of them.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The table of several runs. Default: coprop_report.html next to them.",
        ),
    ] = None,
    video: Video = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="True masks: TRUTH/<name of the run>/*.png, one a frame, or TRUTH itself for a "
            "single run. Adds scores to the page, and sorts the table by them."
        ),
    ] = None,
    classes: ClassNames = None,
    as_json: AsJson = False,
) -> None:
    """Write report.html into results folders: video, sound, control points and masks in sync."""
    from coprop_plugin.report import find_runs, write_reports

    with results_on_stdout() as print_result, usage_errors():
        outcomes = write_reports(
            find_runs(runs), table=out, video=video, truth=truth, classes=classes
        )
        finish(print_outcomes(outcomes, print_result, as_json))
