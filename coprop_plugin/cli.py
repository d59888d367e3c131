"""The command line: `coprop run | anchor | demo | list | train | evaluate`.

Results go to stdout, one line an input (`--json` for scripts), progress and warnings to stderr.
Exit codes: 0 done, 1 some inputs failed (each is listed), 2 wrong usage.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from coprop_plugin import __version__
from coprop_plugin.errors import CopropError

# Nothing above imports torch: `coprop --help` answers at once.

app = typer.Typer(
    help="Gives any audio-visual segmentation model a sense of time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


class SamplingName(StrEnum):
    """`Clip.from_file`'s samplings."""

    pts = "pts"
    avsbench = "avsbench"


class What(StrEnum):
    """What `coprop list` can list."""

    backends = "backends"
    providers = "providers"
    propagators = "propagators"


Inputs = Annotated[list[Path], typer.Argument(help="Video files, or folders of them.")]
Fps = Annotated[
    float, typer.Option(help="Frames a second to segment; 0 takes every frame.", min=0.0)
]
SamplingOption = Annotated[
    SamplingName, typer.Option(help="Which frame stands for an instant; see the README.")
]
Points = Annotated[
    str,
    typer.Option(
        help="Who finds the control points: a provider (`coprop list providers`) or a JSON file."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]
WorkDir = Annotated[
    Path | None,
    typer.Option(help="For checkpoints, logs and weights; by default work_dirs/<config>."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def run(
    inputs: Inputs,
    backend: Annotated[
        str,
        typer.Option(
            help="The model: `module:callable` or `file.py:callable`, a function of (frames, "
            "audio) that returns logits, or one that makes a model; or `keyframe_processor`."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Results go to OUT/<name of the input>/.")
    ] = Path("coprop_out"),
    weights: Annotated[
        Path | None,
        typer.Option(help="The file of the model's weights; handed to the function that makes it."),
    ] = None,
    control_points: Points = "novelty",
    propagator: Annotated[
        str | None,
        typer.Option(help="A checkpoint or a name (`coprop list propagators`); else the default."),
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

    with _results_on_stdout() as print_result, _usage_errors():
        model = batch.make_model(backend, weights, control_points, propagator, device)
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
            ),
        )
        outcomes = batch.run_many(model, batch.find_inputs(inputs), out, options, not quiet)
        _finish(_report(outcomes, print_result, as_json))


@app.command()
def anchor(
    inputs: Inputs,
    control_points: Points = "novelty",
    fps: Fps = 1.0,
    sampling: SamplingOption = SamplingName.pts,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write OUT/<name>.json as well.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find control points only: the times at which the set of sounding objects changes."""
    from coprop_plugin import batch

    with _results_on_stdout() as print_result, _usage_errors():
        paths = batch.find_inputs(inputs)
        outcomes = batch.anchor_many(control_points, paths, out, fps or None, sampling.value)
        _finish(_report(outcomes, print_result, as_json))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Which made-up scene.")] = 11,
    tiny: Annotated[bool, typer.Option(help="A small, short scene, for a quick check.")] = False,
    quiet: Quiet = False,
) -> None:
    """Make a sounding scene up, write it as a video, and segment that video."""
    from coprop_plugin.demo import run_demo

    with _results_on_stdout() as print_result, _usage_errors():
        print_result(run_demo(out, seed=seed, tiny=tiny, progress=not quiet))


@app.command(name="list")
def list_names(
    what: Annotated[What | None, typer.Argument(help="One of them only.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the names that --backend adapters, --control-points and --propagator know."""
    from coprop_plugin import registry

    with _results_on_stdout() as print_result:
        wanted = [what] if what else list(What)
        found = {w.value: getattr(registry, f"list_{w.value}")() for w in wanted}
        if as_json:
            print_result(json.dumps(found))
        else:
            for kind, known in found.items():
                print_result(f"{kind}: {', '.join(known)}")


@app.command()
def train(
    config: Annotated[
        str, typer.Argument(help="An mmengine config file, or one of ours: world_keyframes_small.")
    ],
    work_dir: WorkDir = None,
    resume: Annotated[
        bool, typer.Option(help="Go on from the last checkpoint in the work folder.")
    ] = False,
    amp: Annotated[bool, typer.Option(help="Train in mixed precision, on a GPU.")] = False,
) -> None:
    """Train a keyframe processor or a propagator, and print where its weights are."""
    with _results_on_stdout() as print_result, _usage_errors():
        from coprop_plugin.training.run import train

        weights = train(config, work_dir, resume=resume, amp=amp)
        if os.environ.get("RANK", "0") == "0":
            print_result(str(weights))


@app.command()
def evaluate(
    config: Annotated[str, typer.Argument(help="The config that the weights were trained with.")],
    weights: Annotated[Path, typer.Option(help="What `coprop train` wrote.")],
    work_dir: WorkDir = None,
    as_json: AsJson = False,
) -> None:
    """Score trained weights on the test data of their config."""
    with _results_on_stdout() as print_result, _usage_errors():
        from coprop_plugin.training.run import evaluate

        scores = evaluate(config, weights, work_dir)
        if as_json:
            print_result(json.dumps(scores))
        else:
            for name, score in scores.items():
                print_result(
                    f"{name}: {score:.4f}" if isinstance(score, float) else f"{name}: {score}"
                )


def _report(outcomes: Iterator[Any], print_result: Any, as_json: bool) -> int:
    """Print each outcome as it comes; returns how many failed."""
    failed = 0
    for outcome in outcomes:
        failed += outcome.status == "failed"
        if as_json:
            print_result(json.dumps(outcome.to_dict()))
        elif outcome.status == "failed":
            named = str(outcome.input) in outcome.error
            _complain(outcome.error if named else f"{outcome.input}: {outcome.error}")
        else:
            print_result(str(outcome))
    return failed


def _finish(failed: int) -> None:
    if failed:
        _complain(f"{failed} input{'s' if failed > 1 else ''} failed; the rest is done.")
        raise typer.Exit(1)


@contextlib.contextmanager
def _usage_errors() -> Iterator[None]:
    """Turn what goes wrong before any input is touched into exit code 2 and one message."""
    try:
        yield
    except CopropError as error:
        _complain(str(error))
        raise typer.Exit(2) from None


@contextlib.contextmanager
def _results_on_stdout() -> Iterator[Any]:
    """Keep stdout for results: what libraries print goes to stderr."""
    stdout = sys.stdout

    def print_result(text: str) -> None:
        print(text, file=stdout, flush=True)

    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformable")
            warnings.showwarning = lambda message, *_, **__: _complain(f"warning: {message}")
            yield print_result
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(*_: Any) -> None:
    """Clean up like an interrupted run; if that does not come to an end, end all the same."""
    # An exception that is raised while a library calls back is swallowed there.
    last_resort = threading.Timer(5.0, os._exit, (143,))
    last_resort.daemon = True
    last_resort.start()
    sys.exit(143)


def _complain(text: str) -> None:
    print(f"coprop: {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
