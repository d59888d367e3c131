"""`coprop moc`: the clips of MS3 that change."""

from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.output import complain, results_on_stdout, usage_errors


@app.command()
def moc(
    folder: Annotated[Path, typer.Argument(help="MS3: the folder Multi-sources.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="AVSS, whose labels distinguish the objects in MS3's clips."),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    out: Annotated[Path, typer.Option("--out", "-o", help="The list to write.")] = Path("moc.txt"),
) -> None:
    """List the clips of MS3 in which the set of sounding objects changes, one id a line."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.benchmark.datasets import MOC, MS3, write_ids

        chosen = MOC(folder, split, avss_root=labels)
        total = len(MS3(folder, split))
        print_result(str(write_ids(out, chosen.ids)))
        complain(f"{len(chosen)} of {total} clips of {folder} ({split}) change")
