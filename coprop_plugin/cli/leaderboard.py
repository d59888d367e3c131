"""`coprop leaderboard`: one page of the reports of several benchmarks."""

from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.output import results_on_stdout, usage_errors


@app.command()
def leaderboard(
    reports: Annotated[
        list[Path],
        typer.Argument(help="Files report.json of `coprop bench`, or its output folders."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page.")] = Path("leaderboard.html"),
    title: Annotated[str, typer.Option(help="Its heading.")] = "Leaderboard",
) -> None:
    """Write a sortable page of models, rows and data sets from reports, also of several people."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.report import read_bench, write_leaderboard

        print_result(str(write_leaderboard([read_bench(path) for path in reports], out, title)))
