"""The page of one run: its video, sound, control points and masks on one clock."""

import base64
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from coprop_plugin import __version__, media
from coprop_plugin.media.folders import REPORT_NAMES, writing
from coprop_plugin.media.overlay import class_colours
from coprop_plugin.report.html import Markup, fill, tree
from coprop_plugin.report.images import mask_picture, peaks, spectrogram_picture
from coprop_plugin.report.page_video import ShownVideo, write_small_video
from coprop_plugin.report.read_run import Layer, Run, read_run
from coprop_plugin.report.reasons import reasons_of
from coprop_plugin.types import ControlPoints

PAGE, VIDEO = REPORT_NAMES
EMBEDDED_BYTES = 16 * 2**20
"""A video up to this size is inside the page; a larger one lies beside it, as `report.mp4`."""


@dataclass(frozen=True)
class Report:
    """A page that was written, and what a table of pages says about it.

    Attributes:
        path: The page.
        name: The clip's name.
        score: Mean Jaccard index over its frames (AVSBench's M_J); None without truth.
        bare_score: The same of the bare model, if the run has its result.
        least_confidence: Of its least confident frame.
        mean_confidence: Over all frames.
        mean_area: Share of the picture that sounds.
        silent_share: Share of frames in which nothing can be heard; None if nobody said.
        num_frames: T.
        num_points: Control points; None if the run kept none.
        duration_s: Length of the video.
        still: A thumbnail in a data URI.
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
) -> Report:
    """Write `report.html` into a results folder: a page that needs nothing else, and no network.

    A video of more than 16 MiB, once made small, lies beside the page as `report.mp4`.

    Args:
        folder: What `SegmentationResult.save` or `coprop run` wrote.
        video: See `read_run`.
        truth: See `read_run`.
        classes: A file of class names; see `media.class_names`.

    Raises:
        ControlPointError: If the control points were edited into something else.
        MediaError: If the video or the class names cannot be read, or the page cannot be written.
        ReportError: If the folder holds no finished result, or no video is to be had.

    Example:
        >>> write_report("out/street").path  # doctest: +SKIP
        PosixPath('out/street/report.html')
    """
    run = read_run(folder, video=video, truth=truth)
    known = run.content.get("class_names")
    names = media.class_names(run.content["num_classes"], classes, known)
    masks = run.layers[0]
    loudest = max(range(run.num_frames), key=masks.areas.__getitem__)
    page, beside = run.folder / PAGE, run.folder / VIDEO
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / VIDEO
        shown = write_small_video(run.video, made, still_s=run.spans[loudest][0])
        embedded = made.stat().st_size <= EMBEDDED_BYTES
        content = base64.b64encode(made.read_bytes()).decode() if embedded else ""
        text = _page(run, shown, content, names)
        with writing(run.folder):
            beside.unlink(missing_ok=True)
            if not embedded:
                partial = beside.with_name(f".{VIDEO}.{os.getpid()}.part")
                partial.write_bytes(made.read_bytes())
                os.replace(partial, beside)
        media.write_text(page, text)
    return _summary(run, shown, page)


def _page(run: Run, shown: ShownVideo, video: str, names: Sequence[str]) -> str:
    data = page_data(run, shown)
    values = {
        "title": run.name,
        "facts": _facts(run, shown),
        "version": __version__,
        "points": _points_table(data["points"]),
        "log": _log(run.points),
        "notes": _notes(run),
        "legend": _legend(run, names),
        "video": Markup(video),
        "options": tree((run.content.get("about") or {}).get("options") or {}),
    }
    return fill("run", values, data)


def page_data(run: Run, shown: ShownVideo) -> dict[str, Any]:
    """Return what the page's script works with, as JSON types.

    `spans` are seconds, `layers` have one area, confidence, score and picture a frame (areas and
    scores are shares of 1), `points` one entry a control point.
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
        "wave": peaks(shown.waveform),
        "sound": round(len(shown.waveform) / shown.sample_rate, 6),
        "spectrogram": spectrogram_picture(shown.waveform, shown.sample_rate),
    }


def _layer(run: Run, layer: Layer) -> dict[str, Any]:
    # Where the masks are in the picture already, a second coat would cover what is below.
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


def _legend(run: Run, names: Sequence[str]) -> Markup:
    """List the classes that sound somewhere in the run, in the colours of their masks."""
    if run.content["num_classes"] == 1:
        return Markup("")
    found = {k for layer in run.layers if layer.name != "truth" for ks in layer.classes for k in ks}
    rows = []
    for class_id in sorted(found):
        colour = "#" + bytes(class_colours()[class_id].tolist()).hex()
        dot = f'<circle cx="6" cy="6" r="5" fill="{colour}"/>'
        rows.append(
            f'<li data-class="{class_id}"><svg viewBox="0 0 12 12" aria-hidden="true">{dot}</svg>'
            f"{escape(names[class_id])}</li>"
        )
    return Markup(f'<ul class="legend" aria-label="Classes">{"".join(rows)}</ul>')


def _points(run: Run, points: ControlPoints) -> list[dict[str, Any]]:
    said = reasons_of(points, run.spans)
    return [
        {
            "frame": segment.start,
            "stop": segment.stop,
            "start": round(run.spans[segment.start][0], 6),
            "end": round(run.spans[segment.stop - 1][1], 6),
            "silent": points.is_silent(segment.start),
            "reasons": [list(reason) for reason in reasons],
        }
        for segment, reasons in zip(points.segments, said, strict=True)
    ]


def _silent(points: ControlPoints) -> list[int] | None:
    return None if points.silent is None else points.silent.int().tolist()


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 5) for value in values]


def _facts(run: Run, shown: ShownVideo) -> Markup:
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
    for name, title in (("coprop", "mean IoU"), ("bare", "model alone")):
        scores = run.scores(name)
        if scores is not None:
            facts.append(f"{title} {sum(scores) / len(scores):.3f}")
    return Markup("".join(f"<li>{escape(fact)}</li>" for fact in facts))


def _points_table(points: Sequence[dict[str, Any]]) -> Markup:
    rows = []
    for number, point in enumerate(points, start=1):
        reasons = "".join(
            f"<li><b>{escape(who)}</b> {escape(says)}</li>" for who, says in point["reasons"]
        )
        silent = ' <span class="tag">silent</span>' if point["silent"] else ""
        rows.append(
            f'<tr data-point="{number - 1}"><td>{number}</td>'
            f'<td><button type="button" class="jump" data-seek="{point["start"]}" '
            f'aria-label="Go to control point {number}, {point["start"]:.2f} seconds">'
            f"{point['start']:.2f} s</button></td>"
            f"<td>{point['start']:.2f}–{point['end']:.2f} s{silent}"
            f"<small>frames {point['frame']}–{point['stop'] - 1}</small></td>"
            f'<td><ul class="plain">{reasons}</ul></td></tr>'
        )
    return Markup("".join(rows) or '<tr><td colspan="4">This run kept no control points.</td></tr>')


def _log(points: ControlPoints | None) -> Markup:
    if points is None or not points.log:
        return Markup("<p>The provider wrote no log.</p>")
    return Markup(f"<p>{escape(points.source)}</p>{tree(points.log)}")


def _notes(run: Run) -> Markup:
    notes = []
    if run.painted:
        notes.append(
            "The source video was not found, so this page shows the overlay, in which the masks "
            "are painted already. Name the source with --video for masks that can be switched off."
        )
    log = {} if run.points is None else run.points.log
    notes += [str(note) for note in log.get("notes") or []]
    return Markup("".join(f'<p class="note" role="note">{escape(note)}</p>' for note in notes))


def _summary(run: Run, shown: ShownVideo, path: Path) -> Report:
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
