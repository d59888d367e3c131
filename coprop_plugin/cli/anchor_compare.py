"""`coprop anchor compare`: a table of who finds control points how well."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any

import typer

from coprop_plugin.cli.anchor import anchor_app
from coprop_plugin.cli.options import AsJson, Quiet
from coprop_plugin.cli.output import complain, results_on_stdout, usage_errors


@anchor_app.command()
def compare(
    folder: Annotated[
        Path | None,
        typer.Argument(help="A data set (S4, MS3, AVSS), or a folder of videos with --truth."),
    ] = None,
    world: Annotated[
        int, typer.Option(help="So many test scenes of the made-up world instead.", min=0)
    ] = 0,
    truth: Annotated[
        Path | None,
        typer.Option(help="True control points of videos, as `anchor -o points.json` writes them."),
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            "--provider",
            "-p",
            help="PROVIDER or NAME=PROVIDER, as --control-points takes them, in a row of its own. "
            "Repeat it for several.",
        ),
    ] = None,
    only: Annotated[bool, typer.Option(help="Only those of --provider.")] = False,
    fps: Annotated[float, typer.Option(help="Frames a second, of scenes and videos.")] = 1.0,
    frames: Annotated[int, typer.Option(help="World: frames a clip.", min=2)] = 10,
    split: Annotated[str, typer.Option(help="Of a data set: train, val, test or all.")] = "test",
    cache: Annotated[
        Path | None, typer.Option(help="Keep the answers of language models in this folder.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of random weights and scripted errors.")] = 0,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write the table here, too.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare providers on clips with truth: precision, recall, F1, onset error, time, calls."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.batch.load import load_provider
        from coprop_plugin.batch.points_file import samples_of
        from coprop_plugin.benchmark.compare_providers import NamedProvider, compare
        from coprop_plugin.benchmark.default_providers import default_providers

        named = [_named(spec) for spec in provider or []]
        entrants = [] if only else default_providers(seed)
        entrants += [NamedProvider(name, load_provider(spec, cache)) for name, spec in named]
        samples = samples_of(folder, world, truth, fps, frames, split)
        rows = compare(entrants, _watched(samples, quiet))
        if csv_file is not None:
            _write_csv(csv_file, rows)
        if as_json:
            for row in rows:
                print_result(json.dumps(row))
        else:
            print_result(_table(rows))
    failures = [(row["provider"], failure) for row in rows for failure in row["failed"]]
    for name, failure in failures:
        complain(f"{name}: {failure}")
    if failures:
        raise typer.Exit(1)


def _named(spec: str) -> tuple[str, str]:
    """Take [NAME=]PROVIDER apart; a config in braces may hold `=`, too."""
    name, equals, rest = spec.partition("=")
    if equals and name.replace("_", "").replace("-", "").isalnum():
        return name, rest
    return (json.loads(spec).get("type", spec) if spec.startswith("{") else spec), spec


def _watched(samples: Sequence[Any], quiet: bool) -> Iterable[Any]:
    if quiet:
        return samples
    from rich.console import Console
    from rich.progress import track

    return track(samples, "comparing", console=Console(stderr=True), transient=True)


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "failed": len(row["failed"])} for row in rows)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay rows out for people: names to the left, numbers to the right."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=SIMPLE, pad_edge=False)
    names = [name for name in rows[0] if name != "failed" or any(row["failed"] for row in rows)]
    for name in names:
        shown.add_column(name, justify="left" if name in ("provider", "note") else "right")
    for row in rows:
        shown.add_row(*(_cell(row[name]) for name in names))
    # As wide as it needs to be: what is piped has no width.
    console = Console(width=200)
    with console.capture() as capture:
        console.print(shown)
    return dedent("\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines()))


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return str(len(value))
    if isinstance(value, float):
        return f"{value:.3f}"
    return "-" if value is None else str(value)
