"""One input of many: segmented, skipped because it is finished, or failed."""

import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from coprop_plugin import media
from coprop_plugin.batch.extras import add_extras, extras_missing
from coprop_plugin.batch.outcome import Outcome, failure
from coprop_plugin.batch.result_folders import about_before, described
from coprop_plugin.errors import CopropError, MediaError
from coprop_plugin.pipeline import CoProp
from coprop_plugin.pipeline.progress import progress_hook
from coprop_plugin.pipeline.windows import StreamedVideo
from coprop_plugin.types import DEFAULT_TRACKS, Sampling, Tracks


@dataclass(frozen=True)
class Options:
    """How to segment files, and what to write.

    Args:
        fps: Frames a second; None for all.
        sampling: See `Clip.from_file`.
        tracks: Which tracks of the file to use.
        overlay: Whether to write `overlay.mp4`.
        alpha: Whether to write `alpha/%05d.png`.
        redo: Whether to segment finished inputs again.
        bare: Whether to save the bare model's masks in `bare/`, to compare with.
        report: Whether to write `report.html`.
        asked: The other options that decide the result: model, weights, provider, propagator. A
            finished input is segmented again if one of them differs.
        stamps: Fingerprints of the files that `asked` names, compared likewise.
    """

    fps: float | None = 1.0
    sampling: Sampling = "pts"
    tracks: Tracks = DEFAULT_TRACKS
    overlay: bool = True
    alpha: bool = False
    redo: bool = False
    bare: bool = False
    report: bool = False
    asked: dict[str, Any] = field(default_factory=dict)
    stamps: dict[str, str | None] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """The options that decide a result, besides the file itself."""
        extra = ("redo", "bare", "report")
        settings = {key: value for key, value in asdict(self).items() if key not in extra}
        return {**settings, "tracks": self.tracks.to_dict()}


class Job(NamedTuple):
    """A file to segment, and the folder for its result."""

    path: Path
    folder: Path


def do_job(model: CoProp, job: Job, options: Options, progress: bool = False) -> Outcome:
    """Segment a file; an exception of any kind becomes its outcome.

    Errors that the library does not raise on purpose are logged with their traceback.
    """
    began = time.monotonic()
    try:
        outcome = _segmented(model, job, options, progress)
        add_extras(
            model,
            *job,
            fps=options.fps,
            sampling=options.sampling,
            tracks=options.tracks,
            bare=options.bare,
            report=options.report,
        )
        return outcome
    except Exception as error:  # A backend may raise anything.
        return failure(job.path, error, time.monotonic() - began)


def finished_before(job: Job, options: Options) -> Outcome | None:
    """Return the outcome of a job of which nothing is left to do, so that it needs no model.

    Args:
        job: The file, and the folder that may hold its result.
        options: How to segment, and what to write.

    Returns:
        None if anything is to be computed, or if the file or the result cannot be read.
    """
    if options.redo or extras_missing(job.folder, bare=options.bare, report=options.report):
        return None
    try:
        about, before = _about(job, options)
    except (CopropError, OSError):
        return None
    return Outcome(job.path, "skipped", job.folder) if before == about else None


def _about(job: Job, options: Options) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the `about` of the result to make, and that of the result in the folder, if any."""
    about = {**described(job.path), "options": options.settings}
    return about, about_before(job.folder, job.path)


def _segmented(model: CoProp, job: Job, options: Options, progress: bool) -> Outcome:
    path, folder = job
    media.refuse_missing(path)
    tracks = options.tracks
    if path.is_dir():
        tracks = replace(tracks, frame_rate=options.fps)
    began = time.monotonic()
    about, before = _about(job, options)
    if before == about and not options.redo:
        return Outcome(path, "skipped", folder)
    if before is not None and before.get("input", about["input"]) != about["input"]:
        raise MediaError(
            f"{folder} holds the result of {before['input']}, which would be overwritten. Choose "
            "another --out."
        )
    if before is not None and "reused" in before and not options.redo:
        raise MediaError(
            f"{folder} holds a result with edits made by hand, which would be overwritten. Choose "
            "another --out, or use --redo to segment without them."
        )
    writer = media.ResultWriter(
        folder,
        source=path,
        sampling=options.sampling,
        tracks=tracks,
        overlay=options.overlay,
        alpha=options.alpha,
        about=about,
        resume=not options.redo,
    )

    def remember(step: str, artifact: Any, done: int, total: int) -> None:
        if step == "control_points":
            writer.write_points(artifact)

    with writer, progress_hook(remember, progress, title=path.name) as hook:
        video = StreamedVideo(path, options.fps, options.sampling, model.window_limits, tracks)
        frames = model.stream_part(
            video, writer.control_points, start=writer.num_written, hook=hook
        )
        for frame in frames:
            writer.write(frame)
    points = writer.control_points
    seconds = None if points is None else tuple(writer.times[i] for i in points.indices)
    took_s = time.monotonic() - began
    return Outcome(path, "done", folder, writer.num_written, points, seconds, took_s=took_s)
