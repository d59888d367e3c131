"""`coprop anchor`: control points only."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from coprop_plugin.choices import DEFAULT_POINTS
from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import (
    AnswerCache,
    AsJson,
    Audio,
    AudioTrack,
    ExampleStore,
    Fps,
    Inputs,
    LanguageModel,
    Points,
    PromptFolder,
    SamplingOption,
    VideoTrack,
)
from coprop_plugin.cli.output import finish, print_outcomes, results_on_stdout, usage_errors

if TYPE_CHECKING:
    from coprop_plugin.pipeline.audio_items import AudioItem
    from coprop_plugin.types import Sampling, Tracks

DEFAULT = "files"


class _FilesByDefault(TyperGroup):
    """A group whose first argument is a file unless it is the name of a command.

    Its help is that of `files`, followed by the commands.
    """

    # typer brings click along under names of its own, which differ between versions.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "--help"):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        default = self.commands[DEFAULT]
        # Arguments may be missing, as only the help is wanted.
        default.format_help(
            default.make_context(ctx.info_name, [], ctx.parent, resilient_parsing=True), formatter
        )
        super().format_help(ctx, formatter)


anchor_app = typer.Typer(
    cls=_FilesByDefault,
    help="Find control points only: when the set of sounding objects changes. `coprop anchor "
    "FILES` is short for `coprop anchor files FILES`.",
)
app.add_typer(anchor_app, name="anchor")


@anchor_app.command(name=DEFAULT)
def files(
    inputs: Inputs,
    control_points: Points = DEFAULT_POINTS,
    fps: Fps = 1.0,
    sampling: SamplingOption = "pts",
    audio_track: AudioTrack = None,
    video_track: VideoTrack = None,
    audio: Audio = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Also write OUT/<name>.json; or one file for all clips if OUT ends in .json: an "
            "interrupted run is then resumed.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split of data sets (S4, MS3, AVSS) among the inputs. Default: all."),
    ] = None,
    llm: LanguageModel = None,
    store: ExampleStore = None,
    prompts: PromptFolder = None,
    cache: AnswerCache = None,
    redo: Annotated[bool, typer.Option(help="Find the control points in OUT.json again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find the control points of videos, and of data sets with -o points.json."""
    from coprop_plugin import batch

    with results_on_stdout() as print_result, usage_errors():
        provider = batch.load_any_provider(control_points, cache, llm, store, prompts)
        tracks = batch.tracks_for(inputs, audio_track, video_track, audio)
        if out is None or out.suffix != ".json":
            paths = batch.find_inputs(inputs)
            outcomes = batch.anchor_many(provider, paths, out, fps or None, sampling, tracks)
        else:
            items = _find_items(inputs, fps or None, sampling, tracks, split)
            made_with: dict[str, Any] = dict(
                control_points=control_points, fps=fps, sampling=sampling
            )
            if chosen := {kind: track for kind, track in tracks.to_dict().items() if track}:
                made_with["tracks"] = chosen
            # Prompts and examples of a language model may change under the same name.
            if settings := getattr(provider, "settings", None):
                made_with["settings"] = settings
            outcomes = batch.anchor_into(out, provider, items, made_with, redo)
        finish(print_outcomes(outcomes, print_result, as_json))


def _find_items(
    paths: list[Path],
    fps: float | None,
    sampling: "Sampling",
    tracks: "Tracks",
    split: str | None,
) -> list["AudioItem"]:
    """Return the clips of data sets among the paths, then the videos.

    Raises:
        CopropError: If a folder holds neither, or a data set is malformed.
    """
    from coprop_plugin import batch
    from coprop_plugin.benchmark.datasets import dataset_items, is_dataset

    datasets = [path for path in paths if is_dataset(path)]
    items = [item for path in datasets for item in dataset_items(path, split)]
    videos = [path for path in paths if path not in datasets]
    return items + batch.video_items(videos, fps, sampling, tracks)
