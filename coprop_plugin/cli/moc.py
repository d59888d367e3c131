"""`coprop moc`: the clips of MS3 that change."""

from pathlib import Path
from typing import Annotated

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.output import complain, results_on_stdout, usage_errors


@app.command()
def moc(
    folder: Annotated[Path, typer.Argument(help="MS3: the folder Multi-sources.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="AVSS, whose labels distinguish the objects in MS3's clips."),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    out: Annotated[Path, typer.Option("--out", "-o", help="The list to write.")] = Path("moc.txt"),
) -> None:
    """List the clips of MS3 with several target objects that change, one id a line (Table 3)."""
    with results_on_stdout() as print_result, usage_errors():
        from coprop_plugin.benchmark.datasets import MOC, MS3, Statistics, write_ids
        from coprop_plugin.benchmark.datasets.subsets import PAPER_MOC_CLIPS

        dataset = MS3(folder, split, avss_root=labels)
        statistics = Statistics.of(dataset)
        chosen = MOC(folder, split, statistics.changing or None, avss_root=labels)
        print_result(str(write_ids(out, chosen.ids)))
        complain(f"{len(chosen)} of {len(dataset)} clips of {folder} ({split}) change")
        for name in chosen.ids:
            frames = statistics.sounding.get(name, [])
            complain("  ".join([name, " | ".join("+".join(names) or "-" for names in frames)]))
        complain(f"Table 3, MS3 {split}: {statistics}")
        complain(f"Table 3, MOC {split}: {Statistics.of(chosen)}")
        if len(chosen) != PAPER_MOC_CLIPS:
            complain(f"the paper's MOC has {PAPER_MOC_CLIPS} clips, which it does not list")
