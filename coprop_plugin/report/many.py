"""Reports and exports of many runs; a failure of one does not stop the others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from coprop_plugin import media
from coprop_plugin.errors import CopropError, ReportError, short_reason
from coprop_plugin.media import ExportFormat
from coprop_plugin.report.clips_page import write_clips_page
from coprop_plugin.report.run_page import Report, write_report

CLIPS_PAGE = "coprop_report.html"


@dataclass(frozen=True)
class RunOutcome:
    """Outcome of the report or export of one run, or of the table of reports.

    Args:
        input: The results folder; of the table, the folder that it is in.
        status: Whether it was written.
        output: What was written.
        report: Of a report.
        error: Why it failed.
    """

    input: Path
    status: Literal["done", "failed"]
    output: Path | None = None
    report: Report | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are not None, as JSON types."""
        content: dict[str, Any] = {"input": str(self.input), "status": self.status}
        content |= {"output": self.output and str(self.output), "error": self.error}
        if self.report is not None:
            hidden = ("path", "still")
            content |= {k: v for k, v in vars(self.report).items() if k not in hidden}
        return {key: value for key, value in content.items() if value is not None}

    def __str__(self) -> str:
        return f"{self.input} -> {self.output}"


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Return the results folders among `paths` and, sorted, in folders of them.

    Raises:
        ReportError: If a path does not exist, or is neither a results folder nor a folder of them.
    """
    found: list[Path] = []
    for path in paths:
        media.refuse_missing(path, "folder", ReportError)
        if media.is_result(path):
            found.append(path)
            continue
        runs = [folder for folder in media.folders_in(path) if media.is_result(folder)]
        if not runs:
            raise ReportError(
                f"{path} is not a results folder and does not contain any. Name the folder that "
                "`coprop run -o OUT` wrote: OUT, or OUT/<name of the input>."
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
        table: Where to write the table; by default `coprop_report.html` next to the runs.
        video: The file that was segmented, for a single run.
        truth: A folder with the true masks of each run, in a subfolder with the run's name; for
            a single run, also that subfolder itself.
        classes: A file of class names; see `media.class_names`.

    Yields:
        The outcome of each run, in order, then of the table.

    Raises:
        ReportError: If the options do not fit the runs; before anything is written.
    """
    _check_video(video, runs)
    if truth is not None:
        media.refuse_missing(truth, "folder", ReportError)
    if len(runs) > 1 and table is None:
        table = _default_table(runs)
    return _outcomes(runs, table, video, truth, classes)


def export_runs(
    runs: Sequence[Path],
    formats: Sequence[ExportFormat],
    *,
    video: Path | None = None,
    classes: Path | None = None,
) -> Iterator[RunOutcome]:
    """Export each run in each format; see `media.export`.

    Yields:
        The outcome of each, in order.

    Raises:
        ReportError: If there is one video for several runs; before anything is written.
    """
    _check_video(video, runs)
    return (_exported(run, name, video, classes) for run in runs for name in formats)


def _exported(
    run: Path, format_name: ExportFormat, video: Path | None, classes: Path | None
) -> RunOutcome:
    try:
        path = media.export(run, format_name, video=video, classes=classes)
    except (CopropError, OSError) as error:
        return _failed(run, error)
    return RunOutcome(run, "done", path)


def _failed(run: Path, error: Exception) -> RunOutcome:
    return RunOutcome(run, "failed", error=short_reason(error, limit=None))


def _check_video(video: Path | None, runs: Sequence[Path]) -> None:
    if video is not None and len(runs) > 1:
        raise ReportError(
            f"Expected one run with `video=` (`--video`), got {len(runs)}. Name one run at a "
            "time, or leave it out."
        )


def _outcomes(
    runs: Sequence[Path],
    table: Path | None,
    video: Path | None,
    truth: Path | None,
    classes: Path | None,
) -> Iterator[RunOutcome]:
    reports = []
    for run in runs:
        try:
            masks = _truth_of(run, truth, len(runs) == 1)
            report = write_report(run, video=video, truth=masks, classes=classes)
        except (CopropError, OSError) as error:
            yield _failed(run, error)
        else:
            reports.append(report)
            yield RunOutcome(run, "done", report.path, report)
    if table is not None and reports:
        yield RunOutcome(table.parent, "done", write_clips_page(reports, table))


def _truth_of(run: Path, truth: Path | None, single: bool) -> Path | None:
    if truth is None:
        return None
    own = truth / run.resolve().name
    if own.is_dir():
        return own
    return truth if single else None


def _default_table(runs: Sequence[Path]) -> Path:
    parents = {run.resolve().parent for run in runs}
    if len(parents) > 1:
        raise ReportError(
            f"Expected runs in one folder, got runs in {len(parents)}. Name with -o where to write "
            "the table of them."
        )
    return runs[0].parent / CLIPS_PAGE
