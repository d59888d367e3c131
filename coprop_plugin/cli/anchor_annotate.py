"""`coprop anchor annotate` and `convert`: annotations by hand, and their files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coprop_plugin.choices import AnnotationFormat
from coprop_plugin.cli.anchor import anchor_app
from coprop_plugin.cli.output import complain, results_on_stdout, usage_errors

if TYPE_CHECKING:
    from coprop_plugin.types import Clip


@anchor_app.command()
def annotate(
    folder: Annotated[
        Path, typer.Argument(help="A folder of videos, or a data set: S4, MS3 or AVSS.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The file of the annotations; an existing one is continued."
        ),
    ] = Path("annotations.json"),
    names: Annotated[
        str, typer.Option(help="Names for the keys 1 to 9, separated by commas.")
    ] = "",
    split: Annotated[str, typer.Option(help="Split of a data set, or `all`.")] = "train",
    port: Annotated[int, typer.Option(help="Port of the page; 0: a free one.", min=0)] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Set and name control points by hand, on a page in the browser; Ctrl-C ends it."""
    import webbrowser

    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.batch import AnnotationServer

        offered = [name.strip() for name in names.split(",") if name.strip()]
        with AnnotationServer(_readers(folder, split), out, offered, port) as server:
            print_result(server.url)
            complain(f"annotations go to {out}; Ctrl-C ends this")
            if browser:
                webbrowser.open_new_tab(server.url)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                complain(f"{out} has annotations of {len(server.annotations)} of the clips")


@anchor_app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="Annotations or control points: JSON, an Audacity label track (.txt), .TextGrid, "
            ".rttm, .csv, or a folder of them."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The file; a folder for `audacity` and `textgrid`."),
    ],
    kind: Annotated[
        AnnotationFormat, typer.Option("--format", "-f", help="The format to write.")
    ] = "json",
) -> None:
    """Convert annotations between JSON, Audacity, Praat, RTTM and CSV."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.media import read_annotations, write_annotations

        made = read_annotations(source)
        for path in write_annotations(out, made, kind):
            print_result(str(path))


def _readers(folder: Path, split: str) -> "dict[str, Callable[[], Clip]]":
    """Return by name how to read each clip, one frame a second.

    Raises:
        CopropError: If the folder holds neither videos nor a data set.
    """
    from coprop_plugin.batch import video_items
    from coprop_plugin.benchmark.datasets import is_dataset, open_folder
    from coprop_plugin.media import refuse_missing
    from coprop_plugin.types import Clip

    refuse_missing(folder, "folder")
    if is_dataset(folder):
        dataset = open_folder(folder, None if split == "all" else split, size=None)
        return {name: partial(dataset.clip, index) for index, name in enumerate(dataset.ids)}
    return {item.name: partial(Clip.from_file, item.path) for item in video_items([folder])}
