"""`coprop anchor compare`: a table of scores of control-point providers."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coprop_plugin.cli.anchor import anchor_app
from coprop_plugin.cli.options import (
    AnswerCache,
    AsJson,
    ExampleStore,
    Labels,
    LanguageModel,
    PromptFolder,
    Quiet,
    WorldAssets,
)
from coprop_plugin.cli.output import complain, results_on_stdout, usage_errors

if TYPE_CHECKING:
    from coprop_plugin.benchmark.datasets import Sample, Samples


@anchor_app.command()
def compare(
    folder: Annotated[
        Path | None,
        typer.Argument(help="A data set (S4, MS3, AVSS), or a folder of videos with --truth."),
    ] = None,
    world: Annotated[
        int, typer.Option(help="Instead: number of test scenes of the made-up world.", min=0)
    ] = 0,
    assets: WorldAssets = None,
    sounds: Annotated[
        Path | None,
        typer.Option(help="Instead: a folder of recordings; the clips are mixtures of them."),
    ] = None,
    clips: Annotated[int, typer.Option(help="Sounds: number of mixtures.", min=1)] = 200,
    truth: Annotated[
        Path | None,
        typer.Option(help="True control points of videos, as `anchor -o points.json` writes them."),
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            "--provider",
            "-p",
            help="PROVIDER or NAME=PROVIDER, as for --control-points, in a row of its own. May be "
            "repeated.",
        ),
    ] = None,
    only: Annotated[bool, typer.Option("--only", help="Leave out the built-in providers.")] = False,
    fps: Annotated[float, typer.Option(help="Frames a second of scenes and videos.")] = 1.0,
    frames: Annotated[int, typer.Option(help="World: frames a clip.", min=2)] = 10,
    split: Annotated[
        str, typer.Option(help="Split of a data set: train, val, test or all.")
    ] = "test",
    labels: Labels = None,
    llm: LanguageModel = None,
    store: ExampleStore = None,
    prompts: PromptFolder = None,
    cache: AnswerCache = None,
    seed: Annotated[
        int, typer.Option(help="Seed of random weights, scripted errors and mixtures.")
    ] = 0,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Also write the table to this file.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare providers on clips with truth: precision, recall, F1, onset error, time, calls."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin import media
        from coprop_plugin.benchmark.compare_providers import NamedProvider, compare
        from coprop_plugin.benchmark.default_providers import default_providers
        from coprop_plugin.cli.bench_clips import compare_clips
        from coprop_plugin.cli.bench_providers import LanguageOptions, providers_of

        if only and not provider:
            raise typer.BadParameter("Name at least one provider with -p.", param_hint="--only")
        language = LanguageOptions(llm, store, prompts, cache)
        named, _ = providers_of(provider or [], [], language)
        providers = [] if only else default_providers(seed)
        providers += [NamedProvider(name, made) for name, made in named.items()]
        samples = compare_clips(
            folder, world, truth, fps, frames, split, assets, sounds, clips, seed, labels
        )
        rows = compare(providers, _with_progress(samples, quiet))
        if as_json:
            for row in rows:
                print_result(json.dumps(row))
        else:
            print_result(_table(rows))
        if csv_file is not None:
            media.write_text(csv_file, _csv(rows))
    failures = [(row["provider"], failure) for row in rows for failure in row["failed"]]
    for name, failure in failures:
        complain(f"{name}: {failure}")
    if failures:
        raise typer.Exit(1)


def _with_progress(samples: "Samples", quiet: bool) -> Iterator["Sample"]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    indices = range(len(samples))
    for i in track(indices, "Comparing", console=console, transient=True, disable=quiet):
        yield samples[i]


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "failed": len(row["failed"])} for row in rows)
    return text.getvalue()


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a table of text: names to the left, numbers to the right."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False)
    names = [name for name in rows[0] if name != "failed" or any(row["failed"] for row in rows)]
    for name in names:
        table.add_column(name, justify="left" if name in ("provider", "note") else "right")
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in names))
    # Wide enough for every column, as a pipe has no width.
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return dedent("\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines()))


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return str(len(value))
    if isinstance(value, float):
        return f"{value:.3f}"
    return "-" if value is None else str(value)
