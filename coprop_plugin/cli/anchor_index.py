"""`coprop anchor index`: a store of annotated examples for `rcpg` to search in."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coprop_plugin.cli.anchor import anchor_app
from coprop_plugin.cli.options import Annotations, AsJson, Labels
from coprop_plugin.cli.output import complain, finish, results_on_stdout, usage_errors

if TYPE_CHECKING:
    from coprop_plugin.pipeline.audio_items import AudioItem


@anchor_app.command()
def index(
    dataset: Annotated[
        str,
        typer.Argument(
            help="The folder of S4, MS3 or AVSS; `world`, the made-up scenes; a folder of videos "
            "with --annotations; or a .jsonl of your own clips: "
            '{"clip": "a.wav", "categories": ["dog"], "seconds": [0, 3.5]}.'
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The store to write.")] = Path(
        "store.jsonl"
    ),
    split: Annotated[str, typer.Option(help="Split of a data set on disk, or `all`.")] = "train",
    categories: Annotated[
        Path | None,
        typer.Option(
            help='JSON of categories by id, {"id": ["cello"]}. Default: those of the data set.'
        ),
    ] = None,
    labels: Labels = None,
    annotations: Annotations = None,
    scenes: Annotated[
        int, typer.Option(help="Number of scenes of the made-up world.", min=1)
    ] = 200,
    as_json: AsJson = False,
) -> None:
    """Write a store: the categories and control points of labelled clips."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.benchmark.example_store import index_into
        from coprop_plugin.media import read_annotations

        made = index_into(
            out,
            dataset,
            None if split == "all" else split,
            categories,
            scenes,
            labels,
            None if annotations is None else read_annotations(annotations),
            _videos(Path(dataset)) if annotations is not None else (),
        )
        for name, reason in made.failed.items():
            complain(f"{name}: {reason}")
        for reason, count in made.skipped.items():
            complain(f"{count} clip{'s' if count > 1 else ''} left out: {reason}")
        if made.nameless:
            complain(
                f"{made.nameless} examples have no category and are retrieved by their audio "
                "alone; --labels AVSS or --categories names them"
            )
        content = {
            "store": str(out),
            "examples": len(made.store),
            "categories": made.store.vocabulary,
            "skipped": dict(made.skipped),
            "failed": made.failed,
        }
        text = f"{out}  {len(made.store)} examples of {len(made.store.vocabulary)} categories"
        print_result(json.dumps(content) if as_json else text)
        finish(len(made.failed))


def _videos(folder: Path) -> "list[AudioItem]":
    """Return the videos of a folder; none if it is a data set, or no folder."""
    from coprop_plugin.batch import video_items
    from coprop_plugin.benchmark.datasets import is_dataset

    return video_items([folder]) if folder.is_dir() and not is_dataset(folder) else []
