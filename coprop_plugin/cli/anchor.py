"""`coprop anchor`: control points alone."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import AsJson, Fps, Inputs, Points, SamplingName, SamplingOption
from coprop_plugin.cli.output import finish, report, results_on_stdout, usage_errors

DEFAULT = "files"
# Only its help is wanted: what it needs may be missing.
_ASKED = {"resilient_parsing": True}


class _FilesByDefault(TyperGroup):
    """A group whose first argument is a file unless it is the name of a command.

    Its help is that of files, and then the commands.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "--help"):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        default = self.commands[DEFAULT]
        default.format_help(
            default.make_context(ctx.info_name, [], ctx.parent, **_ASKED), formatter
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
    control_points: Points = "novelty",
    fps: Fps = 1.0,
    sampling: SamplingOption = SamplingName.pts,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write OUT/<name>.json as well; or OUT itself, with all clips in it, if it ends "
            "in .json: that is gone on with after a kill.",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Of a data set (S4, MS3, AVSS) among the inputs; else all.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Keep the answers of a language model in this folder.")
    ] = None,
    redo: Annotated[bool, typer.Option(help="Do finished clips of OUT.json again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find the control points of videos, and of data sets with -o points.json."""
    from coprop_plugin import batch
    from coprop_plugin.batch import points_file
    from coprop_plugin.batch.load import load_provider

    with results_on_stdout() as print_result, usage_errors():
        provider = load_provider(control_points, cache)
        if out is None or out.suffix != ".json":
            paths = batch.find_inputs(inputs)
            outcomes = batch.anchor_many(provider, paths, out, fps or None, sampling.value)
        else:
            items = points_file.find_items(inputs, fps or None, sampling.value, split)
            made_with = dict(control_points=control_points, fps=fps, sampling=sampling.value)
            # Prompts and examples of a language model may change under the same name.
            if settings := getattr(provider, "settings", None):
                made_with["settings"] = settings
            outcomes = points_file.anchor_into(out, provider, items, made_with, redo)
        finish(report(outcomes, print_result, as_json))
