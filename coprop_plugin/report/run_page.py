"""The page of one run: its video, audio, control points and masks on one time axis."""

import base64
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from coprop_plugin import media
from coprop_plugin.media.folders import REPORT_NAMES, write_bytes, writing
from coprop_plugin.media.overlay import class_colours
from coprop_plugin.report.images import mask_picture, peaks, spectrogram_picture
from coprop_plugin.report.log_tree import branches_of
from coprop_plugin.report.page_template import render_page
from coprop_plugin.report.page_video import PageVideo, write_page_video
from coprop_plugin.report.read_run import Layer, LayerName, Run, read_run
from coprop_plugin.report.reasons import reasons_of
from coprop_plugin.report.word_rows import edit_data, word_rows
from coprop_plugin.types import ControlPoints, Tracks

PAGE, VIDEO = REPORT_NAMES


@dataclass(frozen=True)
class Report:
    """A written page, and its row in a table of pages.

    Attributes:
        path: The page.
        name: The clip's name.
        score: Mean Jaccard index over the frames (AVSBench's M_J); None without truth.
        bare_score: The same for the bare model; None if the run does not have its result.
        least_confidence: Confidence of the least confident frame.
        mean_confidence: Mean over all frames.
        mean_area: Mean share of the frame that the mask covers.
        silent_share: Share of silent frames; None if the provider did not detect silence.
        num_frames: T.
        num_points: Number of control points; None if the run has none.
        duration_s: Length of the video.
        still: A thumbnail as a data URI.
    """

    path: Path
    name: str
    score: float | None
    bare_score: float | None
    least_confidence: float
    mean_confidence: float
    mean_area: float
    silent_share: float | None
    num_frames: int
    num_points: int | None
    duration_s: float
    still: str


def write_report(
    folder: str | Path,
    *,
    video: str | Path | None = None,
    truth: str | Path | None = None,
    classes: str | Path | None = None,
    embedded_bytes: int = 16 * 2**20,
) -> Report:
    """Write `report.html` into a results folder: a page that needs no other file and no network.

    A video larger than `embedded_bytes`, after it is scaled down, is written next to the page as
    `report.mp4`.

    Args:
        folder: What `SegmentationResult.save` or `coprop run` wrote.
        video: See `read_run`.
        truth: See `read_run`.
        classes: A file of class names; see `media.class_names`.
        embedded_bytes: The largest video that is put inside the page.

    Raises:
        ControlPointError: If the edited control points are not valid.
        MediaError: If the video or the class names cannot be read, or the page cannot be written.
        ReportError: If the folder holds no finished result, or there is no video for it.

    Example:
        >>> write_report("out/street").path  # doctest: +SKIP
        PosixPath('out/street/report.html')
    """
    run = read_run(folder, video=video, truth=truth)
    known = run.content.get("class_names")
    names = media.class_names(run.content["num_classes"], classes, known)
    loudest = max(range(run.num_frames), key=run.layers[0].areas.__getitem__)
    page, beside = run.folder / PAGE, run.folder / VIDEO
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / VIDEO
        tracks = Tracks() if run.painted else media.tracks_of(run.content)
        shown = write_page_video(run.video, made, run.spans[loudest][0], tracks)
        embedded = made.stat().st_size <= embedded_bytes
        content = base64.b64encode(made.read_bytes()).decode() if embedded else ""
        text = render_run_page(run, shown, names, content)
        if embedded:
            with writing(beside):
                beside.unlink(missing_ok=True)
        else:
            write_bytes(beside, made.read_bytes())
        media.write_text(page, text)
    return _summary(run, shown, page)


def render_run_page(run: Run, shown: PageVideo, names: Sequence[str], video: str = "") -> str:
    """Return the HTML page of a run.

    Args:
        run: What the results folder holds.
        shown: What is known of the video on the page.
        names: Of the classes, the background first.
        video: The video in Base64; empty if it lies next to the page.
    """
    points = run.points
    values = {
        "title": run.name,
        "facts": _facts(run, shown),
        "log": () if points is None else branches_of(points.log),
        "source": None if points is None else points.source,
        "notes": _notes(run),
        "legend": _legend(run, names),
        "words": word_rows(run),
        "video": video,
        "options": branches_of((run.content.get("about") or {}).get("options") or {}),
    }
    return render_page("run", values, page_data(run, shown))


def page_data(run: Run, shown: PageVideo) -> dict[str, Any]:
    """Return the data of the page's script, as JSON types.

    `spans` are in seconds; `layers` have one area, confidence, score and picture per frame (areas
    and scores in [0, 1]); `points` have one entry per control point.
    """
    return {
        "name": run.name,
        "duration": round(shown.duration_s, 6),
        "size": list(shown.size),
        "beside": VIDEO,
        "painted": run.painted,
        "spans": [[round(start, 6), round(end, 6)] for start, end in run.spans],
        "layers": [_layer(run, layer) for layer in run.layers],
        "points": [] if run.points is None else _points(run, run.points),
        "silent": None if run.points is None else _silent(run.points),
        "edit": None if run.points is None else edit_data(run.points, run.content.get("frames")),
        "wave": peaks(shown.waveform),
        "sound": round(len(shown.waveform) / shown.sample_rate, 6),
        "spectrogram": spectrogram_picture(shown.waveform, shown.sample_rate),
    }


def _layer(run: Run, layer: Layer) -> dict[str, Any]:
    # The overlay already shows these masks; drawing them twice would hide what is below.
    hidden = run.painted and layer.name == "coprop"
    scores = run.scores(layer.name)
    return {
        "name": layer.name,
        "title": layer.title,
        "areas": _rounded(layer.areas),
        "confidence": _rounded(layer.confidence),
        "classes": layer.classes if run.content["num_classes"] > 1 else [],
        "scores": None if scores is None else _rounded(scores),
        "masks": ["" if hidden else mask_picture(layer.mask(t)) for t in range(len(layer.masks))],
    }


class _LegendEntry(NamedTuple):
    class_id: int
    name: str
    colour: str


def _legend(run: Run, names: Sequence[str]) -> list[_LegendEntry]:
    """List the classes that sound in some frame, in the colours of their masks."""
    if run.content["num_classes"] == 1:
        return []
    found = {k for layer in run.layers if layer.name != "truth" for ks in layer.classes for k in ks}
    colours = class_colours()
    return [
        _LegendEntry(k, names[k], "#" + bytes(colours[k].tolist()).hex()) for k in sorted(found)
    ]


def _points(run: Run, points: ControlPoints) -> list[dict[str, Any]]:
    found = reasons_of(points, run.spans)
    return [
        {
            "frame": segment.start,
            "stop": segment.stop,
            "start": round(run.spans[segment.start][0], 6),
            "end": round(run.spans[segment.stop - 1][1], 6),
            "silent": points.is_silent(segment.start),
            "reasons": [list(reason) for reason in reasons],
        }
        for segment, reasons in zip(points.segments, found, strict=True)
    ]


def _silent(points: ControlPoints) -> list[int] | None:
    return None if points.silent is None else points.silent.int().tolist()


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 5) for value in values]


def _facts(run: Run, shown: PageVideo) -> list[str]:
    height, width = run.content["size"]
    facts = [
        f"{shown.duration_s:.1f} s",
        f"{run.num_frames} frames segmented",
        f"{width} × {height}",
        "one class" if run.content["num_classes"] == 1 else f"{run.content['num_classes']} classes",
    ]
    if run.points is not None:
        number = len(run.points)
        facts.insert(2, f"{number} control point{'s' if number != 1 else ''}")
    titles: dict[LayerName, str] = {"coprop": "mean IoU", "bare": "model alone"}
    for name, title in titles.items():
        scores = run.scores(name)
        if scores is not None:
            facts.append(f"{title} {sum(scores) / len(scores):.3f}")
    return facts


def _notes(run: Run) -> list[str]:
    notes = []
    if run.painted:
        notes.append(
            "The source video was not found, so this page shows the overlay, which has the masks "
            "painted in. To be able to switch the masks off, name the source: `--video`, in "
            "Python `video=`."
        )
    noted = None if run.points is None else run.points.log.get("notes")
    # Logs can be edited.
    return notes + ([str(note) for note in noted] if isinstance(noted, list) else [])


def _summary(run: Run, shown: PageVideo, path: Path) -> Report:
    masks, points = run.layers[0], run.points
    scores, bare_scores = run.scores(), run.scores("bare")
    silent = None if points is None or points.silent is None else points.silent.float().mean()
    return Report(
        path=path,
        name=run.name,
        score=None if scores is None else sum(scores) / len(scores),
        bare_score=None if bare_scores is None else sum(bare_scores) / len(bare_scores),
        least_confidence=min(masks.confidence),
        mean_confidence=sum(masks.confidence) / run.num_frames,
        mean_area=sum(masks.areas) / run.num_frames,
        silent_share=None if silent is None else float(silent),
        num_frames=run.num_frames,
        num_points=None if points is None else len(points),
        duration_s=shown.duration_s,
        still=shown.still,
    )
