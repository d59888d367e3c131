"""`coprop demo`: the main job on a video that is made on the spot, or on one of yours."""

from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import Quiet
from coprop_plugin.cli.output import complain, results_on_stdout, usage_errors
from coprop_plugin.cli.run_videos import ABOUT_THE_DEFAULT


@app.command()
def demo(
    video: Annotated[
        Path | None,
        typer.Argument(
            help="A video of yours, up to two minutes. Default: photographs filmed by a moving "
            "camera, with synthesised sounds."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.")] = Path("demo"),
    fps: Annotated[
        float, typer.Option(help="Frames a second to segment.", min=0.1, max=60.0)
    ] = 4.0,
    world: Annotated[
        bool,
        typer.Option(
            "--world", help="A made-up scene with known truth, and a model trained on such scenes."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the made-up scene of --world.")] = 11,
    tiny: Annotated[bool, typer.Option(help="A small, short clip, for a quick check.")] = False,
    quiet: Quiet = False,
) -> None:
    """Mark what sounds in a video: a page to look at, an overlay and a film strip."""
    from coprop_plugin.cli.demo_scene import run_world_demo
    from coprop_plugin.cli.demo_video import run_demo

    if world and video is not None:
        raise typer.BadParameter(
            "--world renders a scene of its own. Leave out one or the other.", param_hint="--world"
        )
    with results_on_stdout() as print_result, usage_errors():
        if world:
            print_result(run_world_demo(out, seed=seed, tiny=tiny, progress=not quiet))
            return
        if not quiet:
            complain(ABOUT_THE_DEFAULT)
        print_result(run_demo(out, video, fps=fps, tiny=tiny, progress=not quiet))
