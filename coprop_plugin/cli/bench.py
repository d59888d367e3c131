"""`coprop bench` and `coprop moc`: does Co-Prop help a model, and on clips that change."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import AsJson, Quiet
from coprop_plugin.cli.output import complain, results_on_stdout, usage_errors


@app.command()
def bench(
    folder: Annotated[
        Path | None, typer.Argument(help="A data set as AVSBench lays it out: S4, MS3 or AVSS.")
    ] = None,
    world: Annotated[
        int, typer.Option(help="So many test scenes of the made-up world instead.", min=0)
    ] = 0,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend",
            "-b",
            help="MODEL or NAME=MODEL: the weights of a KeyframeProcessor, or module:callable, or "
            "either of module:callable and `coprop list models` with @WEIGHTS behind it, and "
            "options before that: tpavi,context=frame@S4_pvt_best.pth. Repeat it for several. By "
            "default the weights that ship.",
        ),
    ] = None,
    propagator: Annotated[
        list[str] | None,
        typer.Option(
            help="FILE or NAME=FILE with weights, for rows. By default what ships, as learned."
        ),
    ] = None,
    rows: Annotated[
        str,
        typer.Option(
            help="Names with commas between: bare; or POINTS+CARRIER, with @SECONDS behind POINTS "
            "for asking again, -deaf for no sound, and +truth for true keyframes: "
            "`novelty@1+flow,oracle+learned-deaf+truth`, say."
        ),
    ] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write.")] = Path("bench_out"),
    seeds: Annotated[int, typer.Option(help="World: sets of scenes.", min=1)] = 1,
    frames: Annotated[
        int | None, typer.Option(help="World: frames a clip; by default those of 10 s.", min=1)
    ] = None,
    fps: Annotated[float, typer.Option(help="World: frames a second; 1 is AVSBench's.")] = 1.0,
    size: Annotated[
        str, typer.Option(help="Pixels: HEIGHTxWIDTH of a scene, the side of other clips.")
    ] = "",
    split: Annotated[str, typer.Option(help="Folder: train, val or test.")] = "test",
    ids: Annotated[
        Path | None, typer.Option(help="Folder: a list of clips, see `coprop moc`.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where to compute, `cuda` say; by default on a GPU if any.")
    ] = None,
    redo: Annotated[bool, typer.Option(help="Do finished clips again.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score models bare and with each part of Co-Prop; goes on where it was killed."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.benchmark.datasets.open import clips_of
        from coprop_plugin.benchmark.plug_and_play import plug_and_play
        from coprop_plugin.benchmark.table_1 import as_text, table_1
        from coprop_plugin.cli.bench_models import backends_of, propagators_of
        from coprop_plugin.report.bench_plot import bench_plot

        options = dict(num_frames=frames or max(1, round(10 * fps)), fps=fps)
        data, settings = clips_of(folder, world, seeds, options, size, split, ids)
        backends, about_backends = backends_of(backend or [], device)
        propagators, about_propagators = propagators_of(propagator or [])
        report = plug_and_play(
            data,
            backends,
            [row.strip() for row in rows.split(",")] if rows else None,
            propagators=propagators,
            out=out,
            redo=redo,
            settings=settings,
            about={"backends": about_backends, "propagators": about_propagators},
            progress=not quiet,
        )
        subset = settings["data"].removesuffix(" test")
        published = table_1(report.results, about_backends, subset)
        report = replace(report, about={**report.about, "table_1": published})
        report.save(out)
        scored = any(result["clips"] for result in report.results)
        if scored:
            bench_plot(report.results, out / "report.png", title=settings["data"])
        if as_json:
            for result in report.results:
                print_result(json.dumps(result))
        else:
            print_result(str(report))
            if published:
                print_result("\n" + as_text(published, subset))
        complain(f"wrote {out}/report.json, report.csv{', report.png' if scored else ''}")
    if report.failures:
        for failure in report.failures:
            complain("{set}, {clip}, {backend}, {row}: {error}".format(**failure))
        raise typer.Exit(1)


@app.command()
def moc(
    folder: Annotated[Path, typer.Argument(help="MS3: the folder Multi-sources.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="AVSS, whose labels tell the objects of MS3's clips apart."),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    out: Annotated[Path, typer.Option("--out", "-o", help="The list of ids.")] = Path("moc.txt"),
) -> None:
    """List the clips of MS3 in which the set of sounding objects changes, one id a line."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.benchmark.datasets import MOC, MS3, write_ids

        chosen = MOC(folder, split, avss_root=labels)
        total = len(MS3(folder, split))
        print_result(str(write_ids(out, chosen.ids)))
        complain(f"{len(chosen)} of {total} clips of {folder} ({split}) change")
