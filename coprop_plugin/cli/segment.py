"""`coprop run` and `coprop demo`: masks of videos."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import (
    AsJson,
    EngineName,
    Fps,
    Inputs,
    Points,
    Quiet,
    SamplingName,
    SamplingOption,
)
from coprop_plugin.cli.output import complain, finish, report, results_on_stdout, usage_errors


@app.command()
def run(
    context: typer.Context,
    inputs: Inputs,
    backend: Annotated[
        str | None,
        typer.Option(
            help="The model: `tpavi`, `avsegformer`, `catr` or `keyframe_processor`, with "
            "--weights; or `module:callable` or `file.py:callable`, a function of (frames, audio) "
            "that returns logits, or one that makes a model."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Results go to OUT/<name of the input>/.")
    ] = Path("coprop_out"),
    weights: Annotated[
        str | None,
        typer.Option(
            help="The file of the model's weights, as its authors released it (`coprop list "
            "models`) or ours; of `keyframe_processor` also a folder or `hf://owner/name`; handed "
            "to the function that makes a model."
        ),
    ] = None,
    control_points: Points = "novelty",
    propagator: Annotated[
        str | None,
        typer.Option(help="A checkpoint or a name (`coprop list propagators`); else the default."),
    ] = None,
    keyframe: Annotated[
        str,
        typer.Option(
            help="`first`: of each segment; `confident`: of some frames those whose masks agree, "
            'carried both ways; or \'{"type": "confident", "candidates": 5}\'.'
        ),
    ] = "first",
    reanchor: Annotated[
        str | None,
        typer.Option(
            help="Ask the model again where its last mask is so many seconds old, or `uncertain`: "
            "where masks are in doubt; by default at control points alone."
        ),
    ] = None,
    fps: Fps = 1.0,
    sampling: SamplingOption = SamplingName.pts,
    device: Annotated[
        str | None, typer.Option(help="Where to compute, `cuda` say; by default on a GPU if any.")
    ] = None,
    overlay: Annotated[bool, typer.Option(help="Write overlay.mp4, with the sound.")] = True,
    alpha: Annotated[bool, typer.Option(help="Write frames with the mask as alpha.")] = False,
    bare: Annotated[
        bool, typer.Option("--bare", help="Keep the model's own masks too, in bare/, to compare.")
    ] = False,
    report_page: Annotated[
        bool, typer.Option("--report", help="Write report.html: see `coprop report`.")
    ] = False,
    redo: Annotated[bool, typer.Option(help="Do finished inputs again.")] = False,
    reuse: Annotated[
        Path | None,
        typer.Option(
            help="A finished result of the video, made with the same options: only what was edited "
            "in it is done anew, its masks (RUN/masks) or its control points (RUN/"
            "control_points.json, or --control-points). See `docs/editing.md`."
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that share the inputs, each with its own model.", min=1)
    ] = 1,
    engine: Annotated[
        EngineName, typer.Option(help="Where workers run: on this machine, or wherever Ray does.")
    ] = EngineName.processes,
    threads: Annotated[
        int | None, typer.Option(help="Of each worker; else the cores are shared out.", min=1)
    ] = None,
    segment_batch: Annotated[
        int,
        typer.Option(help="Segments that are carried at once: less time, more memory.", min=1),
    ] = 1,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Do inputs INDEX, INDEX + COUNT, ... of INDEX/COUNT; by default what torchrun or "
            "srun says, else all."
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Segment what sounds in videos: masks, probabilities, control points and an overlay."""
    from coprop_plugin import batch

    given = {p for p in context.params if context.get_parameter_source(p).name == "COMMANDLINE"}
    if backend is None and reuse is None:
        raise typer.BadParameter("Say which model to wrap.", param_hint="--backend")
    with results_on_stdout() as print_result, usage_errors():
        if reuse is not None:
            said = dict(
                backend=backend,
                propagator=batch.located(propagator),
                reanchor=reanchor,
                keyframe=keyframe,
                weights=batch.located(weights),
                fps=fps or None,
                sampling=sampling.value,
            )
            outcomes = batch.redo_file(
                batch.find_inputs(inputs),
                out,
                batch.Reuse.of(reuse, {k: v for k, v in said.items() if k in given}),
                Path(control_points) if "control_points" in given else None,
                device=device,
                overlay=overlay if "overlay" in given else None,
                alpha=alpha if "alpha" in given else None,
                bare=bare,
                report=report_page,
                progress=not quiet,
            )
            finish(report(outcomes, print_result, as_json))
            return
        share = batch.Shard.parse(shard) if shard else batch.Shard.from_environment()
        paths = batch.find_inputs(inputs)
        if share.count > 1:
            mine = len(share.of(paths))
            complain(f"share {share.index} of {share.count}: {mine} of {len(paths)} inputs")
        asked: dict[str, str | None] = dict(
            backend=backend,
            control_points=control_points,
            weights=batch.located(weights),
            propagator=batch.located(propagator),
            reanchor=reanchor,
            keyframe=keyframe,
        )
        options = batch.Options(
            fps=fps or None,
            sampling=sampling.value,
            overlay=overlay,
            alpha=alpha,
            redo=redo,
            bare=bare,
            report=report_page,
            asked=asked,
            stamps={name: batch.fingerprint(asked[name]) for name in ("weights", "propagator")},
        )
        outcomes = batch.run_many(
            partial(batch.make_model, **asked, device=device, segment_batch=segment_batch),
            paths,
            out,
            options,
            workers=workers,
            engine=engine.value,
            threads=threads,
            shard=share,
            progress=not quiet,
        )
        finish(report(outcomes, print_result, as_json))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Which made-up scene.")] = 11,
    tiny: Annotated[bool, typer.Option(help="A small, short scene, for a quick check.")] = False,
    quiet: Quiet = False,
) -> None:
    """Make a sounding scene up, write it as a video, and segment that video."""
    from coprop_plugin.cli.demo import run_demo

    with results_on_stdout() as print_result, usage_errors():
        print_result(run_demo(out, seed=seed, tiny=tiny, progress=not quiet))
