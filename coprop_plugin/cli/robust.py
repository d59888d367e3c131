"""`coprop robust`: AVSBench-Robust's audio files, made from AVSBench."""

from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import Labels
from coprop_plugin.cli.output import complain, results_on_stdout, usage_errors


@app.command()
def robust(
    folder: Annotated[Path, typer.Argument(help="S4 or MS3 as distributed.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.")],
    seed: Annotated[int, typer.Option(help="Seed; the authors' is 42.", min=0)] = 42,
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "test",
    labels: Labels = None,
) -> None:
    """Write the noise and the off-screen sound of every clip, as AVSBench-Robust's script does."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.benchmark.datasets import open_folder
        from coprop_plugin.benchmark.robust import write_robust

        part = None if split == "all" else split
        dataset = open_folder(folder, part, size=None, avss_root=labels)
        print_result(str(write_robust(dataset, out, seed)))
        complain(f"wrote two sounds for each of {len(dataset)} clips, silent.wav, off_screen.csv")
