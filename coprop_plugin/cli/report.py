"""`coprop report`: a page to watch, listen to and read, of every run."""

from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import AsJson, ClassNames
from coprop_plugin.cli.output import finish, results_on_stdout, usage_errors
from coprop_plugin.cli.output import report as print_outcomes


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Results folders, or folders of them.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The table of several runs; by default coprop_report.html there."
        ),
    ] = None,
    video: Annotated[
        Path | None, typer.Option(help="What was segmented, if it is no longer where it was.")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="True masks: TRUTH/<name of the run>/*.png, one a frame, or TRUTH itself for a "
            "single run; then the page has scores, and the table is sorted by them."
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
