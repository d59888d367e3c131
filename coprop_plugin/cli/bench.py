"""`coprop bench`: scores of models bare and with each part of Co-Prop."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import (
    AnswerCache,
    AsJson,
    Device,
    ExampleStore,
    Labels,
    LanguageModel,
    PromptFolder,
    Quiet,
    Sounds,
    Words,
    WorldAssets,
)
from coprop_plugin.cli.output import complain, results_on_stdout, usage_errors
from coprop_plugin.cli.typed_command import command_of

_WORST = 3
"""Clips of each row of which the page has pictures."""
_NOT_DECISIVE = ("out", "redo", "as_json", "quiet", "page", "cache")
"""Options that numbers do not depend on."""

if TYPE_CHECKING:
    from coprop_plugin.benchmark.plug_and_play import Report


@app.command()
def bench(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(help="A data set in AVSBench's layout: S4, MS3 or AVSS.")
    ] = None,
    world: Annotated[
        int, typer.Option(help="Instead: number of test scenes of the made-up world.", min=0)
    ] = 0,
    assets: WorldAssets = None,
    unchanging: Annotated[
        bool,
        typer.Option("--unchanging", help="World: only scenes in which nothing changes."),
    ] = False,
    sounds: Sounds = None,
    clips: Annotated[
        int, typer.Option(help="Sounds: number of mixtures of the test split.", min=1)
    ] = 20,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend",
            "-b",
            help="MODEL or NAME=MODEL, where MODEL is weights of a KeyframeProcessor; or "
            "module:callable or a name (`coprop list models`), followed by options of its adapter "
            "and by @WEIGHTS: tpavi,context=frame@S4_pvt_best.pth. May be repeated. Default: the "
            "weights that ship.",
        ),
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(
            help="A preset with a model (`coprop list presets`), bare and as `coprop run --preset` "
            "runs it. May be repeated."
        ),
    ] = None,
    propagator: Annotated[
        list[str] | None,
        typer.Option(
            help="A propagator for use in --rows: weights, FILE or NAME=FILE; "
            "[NAME=]sam2:ID_OR_FOLDER; or a config as JSON, "
            'NAME=\'{"type": "sam2", "image_size": 512}\'. Default: the weights that ship, as '
            "`learned`."
        ),
    ] = None,
    control_points: Annotated[
        list[str] | None,
        typer.Option(
            "--control-points",
            "-c",
            help="PROVIDER or NAME=PROVIDER for use in --rows: a name, a config as JSON, a file of "
            "control points, or file.py:name. May be repeated.",
        ),
    ] = None,
    llm: LanguageModel = None,
    store: ExampleStore = None,
    prompts: PromptFolder = None,
    cache: AnswerCache = None,
    rows: Annotated[
        str,
        typer.Option(
            help="Rows of the table, separated by commas: `bare`, the model alone; `default`, "
            "what `wrap` does; `paper`, its preset; or POINTS+PROPAGATOR, where "
            "@SECONDS, @auto, @uncertain or @confident after POINTS re-runs the model within "
            "segments, -no-audio after PROPAGATOR runs it without audio, and +truth uses true "
            "keyframes, e.g. `novelty@1+flow,rcpg+learned,oracle+learned-no-audio+truth`."
        ),
    ] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.")] = Path("bench_out"),
    seeds: Annotated[int, typer.Option(help="World, sounds: number of sets.", min=1)] = 1,
    frames: Annotated[
        int | None, typer.Option(help="World: frames a clip. Default: 10 s of them.", min=1)
    ] = None,
    fps: Annotated[float, typer.Option(help="World: frames a second; AVSBench has 1.")] = 1.0,
    size: Annotated[
        str, typer.Option(help="Pixels: HEIGHTxWIDTH of scenes, the side of other clips.")
    ] = "",
    split: Annotated[str, typer.Option(help="Folder: train, val or test.")] = "test",
    ids: Annotated[
        Path | None, typer.Option(help="Folder: a file that lists clips, see `coprop moc`.")
    ] = None,
    labels: Labels = None,
    words: Words = None,
    device: Device = None,
    wrong: Annotated[
        float,
        typer.Option(
            help="Also score each model with this share of its predictions replaced by wrong "
            "masks (empty, moved, a silent object, blobs), and say what each row loses, e.g. 0.3."
        ),
    ] = 0.0,
    robust: Annotated[
        str,
        typer.Option(
            metavar="SEED",
            help="Also score every clip with silence, noise and the sound of other clips, as "
            "AVSBench-Robust: a seed (its authors' is 42), or a folder of `coprop robust`.",
        ),
    ] = "",
    page: Annotated[
        bool,
        typer.Option(
            "--page",
            help="Also write leaderboard.html, with pictures of each row's worst clips. `coprop "
            "leaderboard` puts several reports on one page.",
        ),
    ] = False,
    redo: Annotated[bool, typer.Option(help="Score finished clips again.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score models bare and with each part of Co-Prop; an interrupted run is resumed."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.benchmark.plug_and_play import plug_and_play
        from coprop_plugin.benchmark.table_1 import as_text, table_1
        from coprop_plugin.cli.bench_clips import bench_clips, with_negative_audio
        from coprop_plugin.cli.bench_models import backends_of, propagators_of
        from coprop_plugin.cli.bench_providers import LanguageOptions, providers_of

        data, settings = bench_clips(
            folder,
            world,
            seeds,
            frames,
            fps,
            size,
            split,
            ids,
            assets,
            labels,
            words,
            sounds,
            clips,
            unchanging,
        )
        if robust:
            data, settings = with_negative_audio(data, settings, robust)
        backends, about_backends = backends_of([*(backend or []), *(preset or [])], device)
        propagators, about_propagators = propagators_of(propagator or [])
        chosen = _rows(rows, preset or [])
        language = LanguageOptions(llm, store, prompts, cache or out / "answers")
        providers, about_providers = providers_of(control_points or [], chosen or [], language)
        report = plug_and_play(
            data,
            backends,
            chosen,
            propagators=propagators,
            providers=providers,
            out=out,
            redo=redo,
            wrong=wrong,
            worst=_WORST if page else 0,
            settings=settings,
            about={
                "backends": about_backends,
                "propagators": about_propagators,
                "providers": about_providers,
                "command": command_of(context, _NOT_DECISIVE),
            },
            progress=not quiet,
        )
        subset = settings["data"].removesuffix(" test")
        published = table_1(report.results, about_backends, subset)
        report = replace(report, about={**report.about, "table_1": published})
        report.save(out)
        plots = _plots(report, out, settings["data"])
        if page:
            plots.append(_page(out))
        if as_json:
            for result in report.results:
                print_result(json.dumps(result))
        else:
            print_result(str(report))
            if published:
                print_result("\n" + as_text(published, subset))
        complain(f"wrote {', '.join([f'{out}/report.json', 'report.csv', *plots])}")
    for failure in report.failures:
        complain("{set}, {clip}, {backend}, {row}: {error}".format(**failure))
    if report.failures:
        raise typer.Exit(1)


def _plots(report: "Report", out: Path, title: str) -> list[str]:
    """Draw a report that has scores; returns the names of the images."""
    from coprop_plugin.report.bench_plot import bench_plot
    from coprop_plugin.report.calls_plot import calls_plot

    if not any(result["clips"] for result in report.results):
        return []
    plots = {"report.png": bench_plot, "calls.png": calls_plot}
    for name, plot in plots.items():
        plot(report.results, out / name, title=title)
    return list(plots)


def _page(out: Path) -> str:
    """Write the page of a saved report; returns its name."""
    from coprop_plugin.report import read_bench, write_leaderboard

    return write_leaderboard([read_bench(out)], out / "leaderboard.html").name


def _rows(rows: str, presets: list[str]) -> list[str] | None:
    """Return the rows that were named; by default those of the presets, if there are any."""
    if not rows:
        return ["bare", *presets] if presets else None
    return [row.strip() for row in rows.split(",")]
