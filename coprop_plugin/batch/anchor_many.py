"""Control points of many inputs: a file for each, or one file for all of them."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from coprop_plugin import media
from coprop_plugin.batch.inputs import named_videos
from coprop_plugin.batch.outcome import Outcome, failure
from coprop_plugin.batch.points_file import PointsFile
from coprop_plugin.control_points.file_provider import checked_length
from coprop_plugin.errors import MediaError
from coprop_plugin.pipeline.audio_items import AudioItem
from coprop_plugin.types import DEFAULT_TRACKS, ControlPointProvider, Sampling, Tracks


def anchor_many(
    provider: ControlPointProvider,
    paths: Sequence[Path],
    out: Path | None,
    fps: float | None,
    sampling: Sampling,
    tracks: Tracks = DEFAULT_TRACKS,
) -> Iterator[Outcome]:
    """Find the control points of files; yields their outcomes, in order.

    An exception of any kind is the failure of one file; the others go on.

    Args:
        provider: Finds the control points.
        paths: Video files.
        out: Folder for `NAME.json` of each; None writes nothing.
        fps: Frames a second; None for all.
        sampling: As in `Clip.from_file`.
        tracks: Which tracks to read.
    """
    for item in named_videos(paths, fps, sampling, tracks):
        try:
            clip = item.clip()
            points = checked_length(provider.propose(clip), clip, type(provider).__name__)
            target = None
            if out is not None:
                target = out / f"{item.name}.json"
                media.write_text(target, json.dumps(points.to_dict(clip.times), indent=1))
            outcome = Outcome.anchored(item.path, target, clip, points)
        except Exception as error:  # A provider may raise anything.
            outcome = failure(item.path, error)
        yield outcome


def anchor_into(
    path: Path,
    provider: ControlPointProvider,
    items: Sequence[AudioItem],
    made_with: Mapping[str, Any],
    redo: bool = False,
) -> Iterator[Outcome]:
    """Find the control points of many clips for one file; yields their outcomes, in order.

    An exception of any kind is the failure of one clip; the others go on.

    Args:
        path: The file, for `control_points=` of `wrap` and `coprop run`.
        provider: Finds the control points.
        items: The clips; those whose control points are in the file are skipped.
        made_with: As in `PointsFile`.
        redo: Whether to start from nothing.

    Raises:
        MediaError: If two clips have the same name, the file cannot be written, or another process
            is writing it.
    """
    counts = Counter(item.name for item in items)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise MediaError(
            "Expected clips with different names in a file of control points, got several named "
            f"{', '.join(twice[:4])}. Rename them, or write one file per data set."
        )
    with closing(PointsFile(path, made_with, redo)) as file:
        for item in items:
            yield _anchor(file, provider, item)
        file.save()


def _anchor(file: PointsFile, provider: ControlPointProvider, item: AudioItem) -> Outcome:
    if file.has(item):
        return Outcome(item.path, "skipped", file.path)
    try:
        clip = item.clip()
        points = checked_length(provider.propose(clip), clip, type(provider).__name__)
        content = points.to_dict(clip.times)
        outcome = Outcome.anchored(item.path, file.path, clip, points)
    except Exception as error:  # A provider may raise anything.
        outcome = failure(item.path, error)
        file.fail(item, outcome.error or "")
        return outcome
    file.add(item, content)
    return outcome
