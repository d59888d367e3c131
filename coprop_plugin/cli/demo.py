"""`coprop demo`: the main job on a made-up scene."""

from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import Quiet
from coprop_plugin.cli.output import results_on_stdout, usage_errors


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of the made-up scene.")] = 11,
    tiny: Annotated[bool, typer.Option(help="A small, short scene, for a quick check.")] = False,
    quiet: Quiet = False,
) -> None:
    """Render a made-up scene with sound as a video, and segment that video."""
    from coprop_plugin.cli.demo_scene import run_demo

    with results_on_stdout() as print_result, usage_errors():
        print_result(run_demo(out, seed=seed, tiny=tiny, progress=not quiet))
