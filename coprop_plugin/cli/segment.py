"""`coprop run` and `coprop demo`: masks of videos."""

from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import (
    AsJson,
    Fps,
    Inputs,
    Points,
    Quiet,
    SamplingName,
    SamplingOption,
)
from coprop_plugin.cli.output import finish, report, results_on_stdout, usage_errors


@app.command()
def run(
    inputs: Inputs,
    backend: Annotated[
        str,
        typer.Option(
            help="The model: `tpavi`, `avsegformer`, `catr` or `keyframe_processor`, with "
            "--weights; or `module:callable` or `file.py:callable`, a function of (frames, audio) "
            "that returns logits, or one that makes a model."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Results go to OUT/<name of the input>/.")
    ] = Path("coprop_out"),
    weights: Annotated[
        Path | None,
        typer.Option(
            help="The file of the model's weights, as its authors released it (`coprop list "
            "models`) or ours; handed to the function that makes a model."
        ),
    ] = None,
    control_points: Points = "novelty",
    propagator: Annotated[
        str | None,
        typer.Option(help="A checkpoint or a name (`coprop list propagators`); else the default."),
    ] = None,
    reanchor: Annotated[
        float | None,
        typer.Option(
            help="Ask the model again where its last mask is so many seconds old; by default at "
            "control points alone."
        ),
    ] = None,
    fps: Fps = 1.0,
    sampling: SamplingOption = SamplingName.pts,
    device: Annotated[
        str | None, typer.Option(help="Where to compute, `cuda` say; by default on a GPU if any.")
    ] = None,
    overlay: Annotated[bool, typer.Option(help="Write overlay.mp4, with the sound.")] = True,
    alpha: Annotated[bool, typer.Option(help="Write frames with the mask as alpha.")] = False,
    redo: Annotated[bool, typer.Option(help="Do finished inputs again.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Segment what sounds in videos: masks, probabilities, control points and an overlay."""
    from coprop_plugin import batch

    with results_on_stdout() as print_result, usage_errors():
        model = batch.make_model(backend, weights, control_points, propagator, device, reanchor)
        options = batch.Options(
            fps=fps or None,
            sampling=sampling.value,
            overlay=overlay,
            alpha=alpha,
            redo=redo,
            asked=dict(
                backend=backend,
                weights=batch.fingerprint(weights),
                control_points=control_points,
                propagator=propagator,
                reanchor=reanchor,
            ),
        )
        outcomes = batch.run_many(model, batch.find_inputs(inputs), out, options, not quiet)
        finish(report(outcomes, print_result, as_json))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Which made-up scene.")] = 11,
    tiny: Annotated[bool, typer.Option(help="A small, short scene, for a quick check.")] = False,
    quiet: Quiet = False,
) -> None:
    """Make a sounding scene up, write it as a video, and segment that video."""
    from coprop_plugin.demo import run_demo

    with results_on_stdout() as print_result, usage_errors():
        print_result(run_demo(out, seed=seed, tiny=tiny, progress=not quiet))
