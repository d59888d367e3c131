"""`coprop export`: results in the forms that editors and annotation tools take."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import AsJson, ClassNames
from coprop_plugin.cli.output import finish, report, results_on_stdout, usage_errors


class FormatName(StrEnum):
    """`media.export`'s forms."""

    png_alpha = "png-alpha"
    prores4444 = "prores4444"
    vp9_alpha = "vp9-alpha"
    coco = "coco"


@app.command()
def export(
    runs: Annotated[list[Path], typer.Argument(help="Results folders, or folders of them.")],
    form: Annotated[
        list[FormatName],
        typer.Option(
            "--format",
            "-f",
            help="`png-alpha`: alpha/*.png; `prores4444`: alpha.mov; `vp9-alpha`: alpha.webm, both "
            "with the sound; `coco`: coco.json. May be given several times.",
        ),
    ],
    video: Annotated[
        Path | None, typer.Option(help="What was segmented, if it is no longer where it was.")
    ] = None,
    classes: ClassNames = None,
    as_json: AsJson = False,
) -> None:
    """Write finished results once more: see-through pictures and videos, annotations."""
    from coprop_plugin.report import export_runs, find_runs

    with results_on_stdout() as print_result, usage_errors():
        found = find_runs(runs)
        outcomes = export_runs(found, [f.value for f in form], video=video, classes=classes)
        finish(report(outcomes, print_result, as_json))
