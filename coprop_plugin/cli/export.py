"""`coprop export`: results in formats of video editors and annotation tools."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import AsJson, ClassNames, Video
from coprop_plugin.cli.output import finish, print_outcomes, results_on_stdout, usage_errors

if TYPE_CHECKING:
    from coprop_plugin.media import ExportFormat


class FormatName(StrEnum):
    """`media.ExportFormat`, as typer takes no list of a `Literal`."""

    png_alpha = "png-alpha"
    prores4444 = "prores4444"
    vp9_alpha = "vp9-alpha"
    coco = "coco"
    yolo_seg = "yolo-seg"
    davis = "davis"


@app.command()
def export(
    runs: Annotated[list[Path], typer.Argument(help="Results folders, or folders of them.")],
    formats: Annotated[
        list[FormatName],
        typer.Option(
            "--format",
            "-f",
            help="`png-alpha`: alpha/*.png; `prores4444`: alpha.mov and `vp9-alpha`: alpha.webm, "
            "both with the sound; `coco`: coco.json, whose images are those of `png-alpha`; "
            "`yolo-seg`: yolo/ and `davis`: davis/, pictures and masks for training. May be "
            "repeated.",
        ),
    ],
    video: Video = None,
    classes: ClassNames = None,
    as_json: AsJson = False,
) -> None:
    """Export finished results: images and videos with an alpha channel, annotations."""
    from coprop_plugin.report import export_runs, find_runs

    with results_on_stdout() as print_result, usage_errors():
        names = [cast("ExportFormat", name.value) for name in formats]
        outcomes = export_runs(find_runs(runs), names, video=video, classes=classes)
        finish(print_outcomes(outcomes, print_result, as_json))
