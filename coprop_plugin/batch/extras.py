"""Optional parts of a finished result: the bare model's masks beside it, and its report."""

from pathlib import Path

from coprop_plugin import media
from coprop_plugin.media.folders import BARE, REPORT_NAMES
from coprop_plugin.pipeline import CoProp
from coprop_plugin.types import Sampling, Tracks


def extras_missing(folder: Path, *, bare: bool, report: bool) -> bool:
    """Return whether a result lacks a requested part, see `add_extras`."""
    return (bare and _lacks_bare(folder)) or (report and not _page_of(folder).is_file())


def add_extras(
    model: CoProp,
    path: Path,
    folder: Path,
    *,
    fps: float | None,
    sampling: Sampling,
    tracks: Tracks,
    bare: bool,
    report: bool,
) -> None:
    """Add the requested parts to a finished result, unless they are there already.

    Args:
        model: The model that made the result.
        path: The file that was segmented.
        folder: The result.
        fps: As the result was made with.
        sampling: As the result was made with.
        tracks: As the result was made with.
        bare: Whether to run the wrapped model alone on every frame and save its masks in `bare/`.
            All frames are held in memory.
        report: Whether to write `report.html`.

    Raises:
        CopropError: If the bare model or the report fails; the result itself stays as it is.
    """
    page = _page_of(folder)
    if bare and _lacks_bare(folder):
        clip = media.read_clip(path, fps, sampling, tracks)
        model.segment_bare(clip).save(folder / BARE, overlay=False)
        # An earlier page does not show them.
        page.unlink(missing_ok=True)
    if report and not page.is_file():
        from coprop_plugin.report import write_report

        write_report(folder, video=path)


def _lacks_bare(folder: Path) -> bool:
    return media.read_manifest(folder / BARE) is None


def _page_of(folder: Path) -> Path:
    return folder / REPORT_NAMES[0]
