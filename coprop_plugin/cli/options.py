"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class SamplingName(StrEnum):
    """`Clip.from_file`'s samplings."""

    pts = "pts"
    avsbench = "avsbench"


class EngineName(StrEnum):
    """`run_many`'s engines."""

    processes = "processes"
    ray = "ray"


Inputs = Annotated[
    list[Path],
    typer.Argument(help="Video files, folders of them, or text files that list them (.txt, @...)."),
]
Fps = Annotated[
    float, typer.Option(help="Frames a second to segment; 0 takes every frame.", min=0.0)
]
SamplingOption = Annotated[
    SamplingName, typer.Option(help="Which frame stands for an instant; see the README.")
]
Points = Annotated[
    str,
    typer.Option(
        help="Who finds the control points: a provider (`coprop list providers`), a JSON file of "
        "them, a config as JSON, or file.py:name."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]
WorkDir = Annotated[
    Path | None,
    typer.Option(help="For checkpoints, logs and weights; by default work_dirs/<config>."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
ClassNames = Annotated[
    Path | None,
    typer.Option(
        help="What the classes are called: one a line, or JSON; by default AVSS's names if there "
        "are 71."
    ),
]
