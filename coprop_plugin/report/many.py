"""Reports and exports of many runs: what fails is listed, and a table links the rest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from coprop_plugin import media
from coprop_plugin.errors import CopropError, ReportError
from coprop_plugin.report.clips_page import write_clips_page
from coprop_plugin.report.page import Report, write_report

CLIPS_PAGE = "coprop_report.html"


@dataclass(frozen=True)
class RunOutcome:
    """What became of one run's report or export, or of the table of them."""

    input: Path
    status: Literal["done", "failed"]
    output: Path | None = None
    report: Report | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types, without what is not known."""
        content: dict[str, Any] = {"input": str(self.input), "status": self.status}
        content |= {"output": self.output and str(self.output), "error": self.error}
        if self.report is not None:
            hidden = ("path", "still")
            content |= {k: v for k, v in vars(self.report).items() if k not in hidden}
        return {key: value for key, value in content.items() if value is not None}

    def __str__(self) -> str:
        return f"{self.input} -> {self.output}"


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Return the results folders meant: as they are, or those in a folder of them, sorted.

    Raises:
        ReportError: If a folder is no result and holds none.
    """
    found: list[Path] = []
    for path in paths:
        if media.read_manifest(path) is not None:
            found.append(path)
            continue
        inside = sorted(path.iterdir()) if path.is_dir() else []
        runs = [folder for folder in inside if media.read_manifest(folder) is not None]
        if not runs:
            raise ReportError(
                f"{path} is no results folder and holds none. Give the folder that `coprop run "
                "-o OUT` wrote: OUT, or OUT/<name of the input>."
            )
        found += runs
    return found


def write_reports(
    runs: Sequence[Path],
    *,
    table: Path | None = None,
    video: Path | None = None,
    truth: Path | None = None,
    classes: Path | None = None,
) -> Iterator[RunOutcome]:
    """Write the page of each run and, for more than one, the table of them.

    Args:
        runs: Results folders.
        table: Where to write the table; by default `coprop_report.html` beside the runs.
        video: The file that was segmented, for a single run.
        truth: A folder with the true masks of each run in a folder of the run's name; for a
            single run, also that folder itself.
        classes: A file of class names; see `media.class_names`.

    Yields:
        What became of each run, in order, and of the table.

    Raises:
        ReportError: If options do not fit the runs. Raised before anything is written.
    """
    _check_video(video, runs)
    if len(runs) > 1 and table is None:
        table = _beside(runs)
    return _written(runs, table, video, truth, classes)


def export_runs(
    runs: Sequence[Path],
    forms: Sequence[str],
    *,
    video: Path | None = None,
    classes: Path | None = None,
) -> Iterator[RunOutcome]:
    """Export each run in each form, see `media.export`.

    Yields:
        What became of each, in order.

    Raises:
        ReportError: If there is one video for several runs. Raised before anything is written.
    """
    _check_video(video, runs)
    return (_exported(run, form, video, classes) for run in runs for form in forms)


def _exported(run: Path, form: str, video: Path | None, classes: Path | None) -> RunOutcome:
    try:
        return RunOutcome(run, "done", media.export(run, form, video=video, classes=classes))
    except (CopropError, OSError) as error:
        return RunOutcome(run, "failed", error=" ".join(str(error).split()))


def _check_video(video: Path | None, runs: Sequence[Path]) -> None:
    if video is not None and len(runs) > 1:
        raise ReportError(f"Got one video for {len(runs)} runs. Name one run at a time with it.")


def _written(
    runs: Sequence[Path],
    table: Path | None,
    video: Path | None,
    truth: Path | None,
    classes: Path | None,
) -> Iterator[RunOutcome]:
    reports = []
    for run in runs:
        try:
            known = _truth_of(run, truth, len(runs) == 1)
            report = write_report(run, video=video, truth=known, classes=classes)
        except (CopropError, OSError) as error:
            yield RunOutcome(run, "failed", error=" ".join(str(error).split()))
        else:
            reports.append(report)
            yield RunOutcome(run, "done", report.path, report)
    if table is not None and reports:
        yield RunOutcome(table.parent, "done", write_clips_page(reports, table))


def _truth_of(run: Path, truth: Path | None, alone: bool) -> Path | None:
    if truth is None:
        return None
    own = truth / run.resolve().name
    if own.is_dir():
        return own
    return truth if alone else None


def _beside(runs: Sequence[Path]) -> Path:
    parents = {run.resolve().parent for run in runs}
    if len(parents) > 1:
        raise ReportError(
            f"Got runs in {len(parents)} different folders; say with -o where the table of them "
            "is to be written."
        )
    return runs[0].parent / CLIPS_PAGE
