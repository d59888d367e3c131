"""`coprop reproduce`: the tables of the paper."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from coprop_plugin.choices import TableName
from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import (
    AnswerCache,
    AsJson,
    Device,
    ExampleStore,
    LanguageModel,
    PromptFolder,
    Quiet,
)
from coprop_plugin.cli.output import complain, results_on_stdout, usage_errors
from coprop_plugin.cli.typed_command import command_of

_NOT_DECISIVE = ("list_rows", "cache", "out", "verify", "trust", "redo", "as_json", "quiet")
"""Options that numbers do not depend on."""


@app.command()
def reproduce(
    context: typer.Context,
    table: Annotated[TableName | None, typer.Argument(help="The table or figure.")] = None,
    list_rows: Annotated[
        bool, typer.Option("--list", help="List every row, the paper's numbers and what it needs.")
    ] = False,
    data: Annotated[
        Path, typer.Option(help="AVSBench: folder with Single-source, Multi-sources and AVSS.")
    ] = Path("data"),
    weights: Annotated[
        Path,
        typer.Option(help="Folder of weights, NAME.safetensors, NAME.pth or as training runs."),
    ] = Path("weights"),
    rows: Annotated[
        str, typer.Option(help="Names of rows, separated by commas, e.g. `ours-*`. Default: all.")
    ] = "",
    sets: Annotated[
        str, typer.Option(help="S4, MS3, AVSS or MOC, separated by commas. Default: all.")
    ] = "",
    llm: LanguageModel = None,
    store: ExampleStore = None,
    prompts: PromptFolder = None,
    cache: AnswerCache = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend",
            "-b",
            help="ROW=MODEL or ROW/SET=MODEL: another model for a row, as for `coprop bench`, e.g. "
            "an instance of authors' code. May be repeated.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.")] = Path("reproduced"),
    size: Annotated[
        int | None, typer.Option(help="Side of the frames in pixels. Default: the paper's.", min=16)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Only so many clips of each set, to try it.", min=1)
    ] = None,
    device: Device = None,
    verify: Annotated[
        Path | None,
        typer.Option(
            metavar="REPORT",
            help="Instead: run the command of a report.json of `coprop bench`, or of a table's "
            "NAME.json, again, here, and say what differs; exit code 1 if a number does.",
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="With --verify: run code that the report names.")
    ] = False,
    redo: Annotated[bool, typer.Option(help="Score finished clips again.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Reproduce a table of the paper, or a report. Interrupted runs resume."""
    if verify is not None:
        _verify(verify, trust, as_json)
        return
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.benchmark.paper_inputs import PaperInputs
        from coprop_plugin.benchmark.paper_report import (
            as_markdown,
            list_of_rows,
            rows_of,
            save_results,
        )
        from coprop_plugin.benchmark.paper_tables import read_table
        from coprop_plugin.benchmark.plug_and_play import versions
        from coprop_plugin.cli.bench_providers import LanguageOptions
        from coprop_plugin.cli.reproduce_cells import Reproduction, named_backends
        from coprop_plugin.media import refuse_missing

        if list_rows:
            tables = [table] if table else []
            lines = map(json.dumps, rows_of(tables)) if as_json else [list_of_rows(tables)]
            print_result("\n".join(lines))
            return
        if table is None:
            raise typer.BadParameter("Name a table or a figure, or --list.", param_hint="TABLE")
        paper = read_table(table)
        cells = paper.select(_split(rows), _split(sets))
        run = Reproduction(
            PaperInputs(data, weights, limit),
            LanguageOptions(llm, store, prompts, cache),
            out,
            named_backends(backend or [], paper),
            size,
            device,
            redo,
            not quiet,
        )
        refuse_missing(data, "folder")
        results = run.run(cells)
        about: dict[str, Any] = {"data": str(data), "size": size, "limit": limit}
        about |= {"versions": versions(), "command": command_of(context, _NOT_DECISIVE)}
        written = save_results(out, paper, results, about)
        if as_json:
            for result in results:
                print_result(json.dumps(result.to_dict()))
        else:
            print_result(as_markdown(paper, results))
        complain(f"wrote {', '.join(map(str, written))}")
    failures = [f"{r.cell.row}, {r.cell.set}: {f}" for r in results for f in r.failures]
    for failure in failures:
        complain(failure)
    not_run = sum(result.ours is None for result in results)
    if not_run:
        complain(f"{not_run} of {len(results)} were not run; the table says what each needs")
    if failures or not_run:
        raise typer.Exit(1)


def _verify(report: Path, trust: bool, as_json: bool) -> None:
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.cli.verify_report import verify

        differences = verify(report, trust)
        print_result(json.dumps(differences.to_dict()) if as_json else str(differences))
    if not differences.is_same:
        raise typer.Exit(1)


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
