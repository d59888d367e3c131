"""`coprop run`: masks of videos."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from coprop_plugin.choices import Engine
from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import (
    AsJson,
    Audio,
    AudioTrack,
    Device,
    Fps,
    Inputs,
    ListenFor,
    OwnPoints,
    PresetOption,
    Quiet,
    SamplingOption,
    VideoTrack,
)
from coprop_plugin.cli.output import (
    complain,
    finish,
    print_outcomes,
    results_on_stdout,
    usage_errors,
)

NOT_WITH_REUSE = {
    "workers": "--workers",
    "engine": "--engine",
    "threads": "--threads",
    "shard": "--shard",
    "segment_batch": "--segment-batch",
    "redo": "--redo",
    "audio_track": "--audio-track",
    "video_track": "--video-track",
    "audio": "--audio",
}
"""Options that have no meaning with --reuse, which redoes one video as it was, in this process."""

ABOUT_THE_DEFAULT = (
    "using sounding_object, a model of 1 million parameters that marks the salient object of a "
    "frame while there is sound; it does not know what sounds how."
)
_OTHER_MODELS = (
    "Name a model of your own with --backend, or let foundation models find what sounds: "
    "--preset fast."
)


@app.command()
def run(
    context: typer.Context,
    inputs: Inputs,
    backend: Annotated[
        str | None,
        typer.Option(
            help="The model: `tpavi`, `avsegformer` or `catr`, with --weights; or "
            "`module:callable` or `file.py:callable`: a model, a function of (frames, audio) that "
            "returns logits, or a function that makes a model (it has no required argument but "
            "`weights`, or a return annotation like `-> torch.nn.Module`); or a backend's config "
            "as JSON, e.g. of `open_vocabulary`. Default: the preset's, else `sounding_object`, a "
            "small model that ships."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Results go to OUT/<name of the input>/.")
    ] = Path("coprop_out"),
    weights: Annotated[
        str | None,
        typer.Option(
            help="The model's weights: a file as its authors released it (`coprop list models`) or "
            "ours; for `keyframe_processor` also a folder or `hf://owner/name`. Passed to a "
            "function that makes a model."
        ),
    ] = None,
    control_points: OwnPoints = None,
    propagator: Annotated[
        str | None,
        typer.Option(
            help="A checkpoint, a name (`coprop list propagators`), `learned`, the Audio-Insert "
            "Propagator that ships, or sam2, sam3 or edgetam:ID_OR_FOLDER; or a config as JSON, "
            '\'{"type": "sam2", "image_size": 512}\'. Default: the preset\'s, `appearance`.'
        ),
    ] = None,
    keyframe: Annotated[
        str | None,
        typer.Option(
            help="Keyframes: `first` frame of each segment, or `confident`: run several "
            "candidates, keep those that agree, propagate both ways; or "
            '\'{"type": "confident", "candidates": 5}\'. Default: the preset\'s, `first`.'
        ),
    ] = None,
    reanchor: Annotated[
        str | None,
        typer.Option(
            help="When to re-run the model within a segment: `auto`, where predictions disagree; "
            "every SECONDS; `uncertain`, where masks are; `never`: at control points only. "
            "Default: the preset's, `auto`."
        ),
    ] = None,
    silence: Annotated[
        str | None,
        typer.Option(
            help="Segments without sound: `empty` masks, or `keep`: the model decides. Default: "
            "the preset's, `empty`."
        ),
    ] = None,
    preset: PresetOption = "default",
    words: ListenFor = None,
    fps: Fps = 1.0,
    sampling: SamplingOption = "pts",
    audio_track: AudioTrack = None,
    video_track: VideoTrack = None,
    audio: Audio = None,
    device: Device = None,
    overlay: Annotated[bool, typer.Option(help="Write overlay.mp4, with the sound.")] = True,
    alpha: Annotated[bool, typer.Option(help="Write frames with the mask as alpha.")] = False,
    bare: Annotated[
        bool, typer.Option("--bare", help="Also save the model's own masks, in bare/.")
    ] = False,
    report_page: Annotated[
        bool, typer.Option("--report", help="Write report.html: see `coprop report`.")
    ] = False,
    redo: Annotated[bool, typer.Option(help="Segment finished inputs again.")] = False,
    reuse: Annotated[
        Path | None,
        typer.Option(
            help="A finished result of the video, made with the same options: recompute only what "
            "was edited, in its masks (RUN/masks) or its control points (RUN/control_points.json, "
            "or --control-points). See `docs/editing.md`."
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that share the inputs, each with its own model.", min=1)
    ] = 1,
    engine: Annotated[
        Engine,
        typer.Option(help="Where workers run: `processes` of this machine, or a `ray` cluster."),
    ] = "processes",
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of each worker. Default: the cores are shared.", min=1),
    ] = None,
    segment_batch: Annotated[
        int,
        typer.Option(help="Segments to propagate at once: less time, more memory.", min=1),
    ] = 1,
    shard: Annotated[
        str | None,
        typer.Option(
            help="INDEX/COUNT: only inputs INDEX, INDEX + COUNT, ... Default: the share assigned "
            "by torchrun or srun, else all."
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Segment what sounds in videos: masks, probabilities, control points and an overlay."""
    from coprop_plugin import batch

    given = _given(context)
    with results_on_stdout() as print_result, usage_errors():
        chosen = batch.chosen_backend(backend, preset, words)
        if backend is None and reuse is None and not quiet and chosen == batch.DEFAULT_BACKEND:
            complain(f"no --backend: {ABOUT_THE_DEFAULT} {_OTHER_MODELS}")
        asked: dict[str, Any] = dict(
            backend=chosen,
            control_points=control_points,
            weights=batch.located(weights),
            propagator=batch.located(propagator),
            reanchor=reanchor,
            keyframe=keyframe,
            silence=silence,
            preset=preset,
        )
        paths = batch.find_inputs(inputs)
        if reuse is not None:
            _refuse_useless_options(given)
            said = {**asked, "fps": fps or None, "sampling": sampling}
            given = given | ({"backend"} if "words" in given else set())
            named = {k: v for k, v in said.items() if k in given and k != "control_points"}
            outcomes = batch.redo_file(
                paths,
                out,
                batch.Reuse.of(reuse, named),
                None if control_points is None else Path(control_points),
                device=device,
                overlay=overlay if "overlay" in given else None,
                alpha=alpha if "alpha" in given else None,
                bare=bare,
                report=report_page,
                progress=not quiet,
            )
            finish(print_outcomes(outcomes, print_result, as_json))
            return
        share = batch.Shard.parse(shard) if shard else batch.Shard.from_environment()
        if share.count > 1:
            mine = len(share.of(paths))
            complain(f"share {share.index} of {share.count}: {mine} of {len(paths)} inputs")
        outcomes = batch.run_many(
            partial(batch.make_model, **asked, device=device, segment_batch=segment_batch),
            paths,
            out,
            batch.Options(
                fps=fps or None,
                sampling=sampling,
                tracks=batch.tracks_for(paths, audio_track, video_track, audio),
                overlay=overlay,
                alpha=alpha,
                redo=redo,
                bare=bare,
                report=report_page,
                asked=asked,
                stamps={name: batch.fingerprint(asked[name]) for name in ("weights", "propagator")},
            ),
            workers=workers,
            engine=engine,
            threads=threads,
            shard=share,
            progress=not quiet,
        )
        finish(print_outcomes(outcomes, print_result, as_json))


def _given(context: typer.Context) -> set[str]:
    """Return the names of the parameters that were given on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def _refuse_useless_options(given: set[str]) -> None:
    """Refuse options that --reuse would ignore.

    Raises:
        typer.BadParameter: If there are any.
    """
    useless = [option for name, option in NOT_WITH_REUSE.items() if name in given]
    if useless:
        raise typer.BadParameter(
            f"{', '.join(useless)} cannot be combined with --reuse, which redoes one video in this "
            "process. Leave out one or the other.",
            param_hint="--reuse",
        )
