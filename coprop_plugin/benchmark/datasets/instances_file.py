"""Files of instance tracks in YouTube-VIS's JSON: AVISeg's truth, and the results of models."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.benchmark.datasets.listing import is_plain_name
from coprop_plugin.errors import DatasetError, short_reason
from coprop_plugin.limits import FRAMES, PIXELS, read_text
from coprop_plugin.media.coco import mask_of_run_lengths


@dataclass(frozen=True)
class InstanceTrack:
    """One instance of a video.

    Attributes:
        class_id: Its class, as the file numbers it.
        segmentations: For each frame polygons or run lengths; None where it is silent.
        confidence: How sure a model is of it; 1 in a file of truth.
    """

    class_id: int
    segmentations: Sequence[Any] = field(repr=False)
    confidence: float = 1.0


@dataclass(frozen=True)
class InstanceVideo:
    """One video of a file of truth.

    Attributes:
        id: Its number in the file.
        name: The folder of its frames.
        frames: The names of its frames.
        size: Height and width.
        tracks: Its instances.
    """

    id: int
    name: str
    frames: tuple[str, ...] = field(repr=False)
    size: tuple[int, int]
    tracks: tuple[InstanceTrack, ...] = field(repr=False)


def read_instances(path: Path) -> tuple[dict[int, str], list[InstanceVideo]]:
    """Read a file of truth.

    Returns:
        The names of the classes by their number, and the videos.

    Raises:
        DatasetError: If it is missing or not of this form, or has names that lead out of its
            folder.
    """
    content = _json(path)
    try:
        classes = {int(c["id"]): str(c["name"]) for c in content["categories"]}
        tracks: dict[int, list[InstanceTrack]] = {}
        for entry in content["annotations"]:
            track = InstanceTrack(int(entry["category_id"]), list(entry["segmentations"]))
            tracks.setdefault(int(entry["video_id"]), []).append(track)
        videos = [_video(entry, tracks) for entry in content["videos"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(
            f"{path} does not hold instance tracks ({short_reason(error)}). Expected `videos`, "
            "`annotations` and `categories`, as in YouTube-VIS."
        ) from error
    for video in videos:
        names = [video.name, *video.frames]
        lengths = {len(video.frames), *(len(track.segmentations) for track in video.tracks)}
        unknown = {track.class_id for track in video.tracks} - set(classes)
        if not all(map(is_plain_name, names)) or len(lengths) > 1 or unknown:
            raise DatasetError(
                f"{path}: video {video.id} has frames that are no plain names `NAME/FRAME.jpg` of "
                "one folder, tracks of another length, or of a class without a name. Download it "
                "again."
            )
    if not videos or min(classes, default=0) < 1:
        raise DatasetError(f"{path}: expected videos, and classes numbered from 1. Check the file.")
    return classes, videos


def read_predicted_tracks(path: Path) -> dict[int, list[InstanceTrack]]:
    """Read a model's results: a list of `video_id`, `category_id`, `score`, `segmentations`.

    Returns:
        Tracks by the number of their video.

    Raises:
        DatasetError: If the file is missing or not of this form.
    """
    found: dict[int, list[InstanceTrack]] = {}
    try:
        for entry in _json(path):
            track = InstanceTrack(
                int(entry["category_id"]), list(entry["segmentations"]), float(entry["score"])
            )
            found.setdefault(int(entry["video_id"]), []).append(track)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path} does not list results ({short_reason(error)}). Expected entries with "
            "`video_id`, `category_id`, `score` and `segmentations`."
        ) from error
    return found


def track_masks(tracks: Sequence[InstanceTrack], frame: int, size: tuple[int, int]) -> Tensor:
    """Return the masks of one frame, `[N, H, W]` bool.

    Raises:
        DatasetError: If one is not a mask of this size.
        MediaError: If run lengths are damaged.
    """
    masks = [_mask(track.segmentations[frame], size) for track in tracks]
    return torch.from_numpy(np.stack(masks)) if masks else torch.zeros(0, *size, dtype=torch.bool)


def _mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    if not segmentation:
        return np.zeros(size, dtype=bool)
    if isinstance(segmentation, Mapping):
        mask = mask_of_run_lengths(segmentation)
        if mask.shape != size:
            raise DatasetError(f"Expected masks of {size}, got {mask.shape}. Check the file.")
        return mask
    try:
        polygons = [np.asarray(polygon, dtype=float).reshape(-1, 2) for polygon in segmentation]
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"Expected polygons [x, y, x, y, ...], got {short_reason(error)}. Check the file."
        ) from error
    if not all(np.isfinite(polygon).all() for polygon in polygons):
        raise DatasetError("Expected polygons of finite numbers, got NaN or inf. Check the file.")
    return np.logical_or.reduce([_inside(polygon, size) for polygon in polygons])


def _inside(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels whose centres lie inside a polygon with corners `[n, 2]`, x and y."""
    height, width = size
    crossings = np.zeros((height, width + 1), dtype=np.int64)
    for (x, y), (next_x, next_y) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        low, high = np.clip(np.ceil(np.sort([y, next_y]) - 0.5), 0, height).astype(int)
        rows = np.arange(low, high)
        if len(rows):
            at = x + (rows + 0.5 - y) * (next_x - x) / (next_y - y)
            columns = np.clip(np.ceil(at - 0.5), 0, width).astype(int)
            np.add.at(crossings, (rows, columns), 1)
    return crossings.cumsum(1)[:, :width] % 2 == 1


def _video(entry: Mapping[str, Any], tracks: Mapping[int, list[InstanceTrack]]) -> InstanceVideo:
    number, size = int(entry["id"]), (int(entry["height"]), int(entry["width"]))
    PIXELS.check(size[0] * size[1], f"video {number}", DatasetError)
    files = [str(name).partition("/") for name in entry["file_names"]]
    FRAMES.check(len(files), f"video {number}", DatasetError)
    folders = {folder for folder, _, _ in files}
    name = folders.pop() if len(folders) == 1 else ""
    frames = tuple(frame for _, _, frame in files)
    return InstanceVideo(number, name, frames, size, tuple(tracks.get(number, ())))


def _json(path: Path) -> Any:
    try:
        return json.loads(read_text(path, DatasetError))
    except FileNotFoundError as error:
        raise DatasetError(
            f"There is no {path}. Give the file, or its data set's folder."
        ) from error
    except DatasetError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read as JSON ({short_reason(error)}).") from error


def overlapping(
    videos: Sequence[InstanceVideo], predicted: Mapping[int, Sequence[InstanceTrack]]
) -> Iterator[Any]:
    """Yield a `VideoOverlaps` of each video; masks are decoded one frame at a time.

    Raises:
        DatasetError: If a track has another number of frames than its video.
    """
    from coprop_plugin.benchmark.metrics.instance_tracks import VideoOverlaps

    for video in videos:
        found = predicted.get(video.id, ())
        if any(len(track.segmentations) != len(video.frames) for track in found):
            raise DatasetError(
                f"Expected results with {len(video.frames)} frames of video {video.id} "
                f"({video.name}), got {sorted({len(t.segmentations) for t in found})}. Write None "
                "where an instance is silent."
            )
        overlaps = VideoOverlaps(
            [track.class_id for track in video.tracks],
            [track.class_id for track in found],
            [track.confidence for track in found],
        )
        for t in range(len(video.frames)):
            given = [bool(track.segmentations[t]) for track in found]
            truth = track_masks(video.tracks, t, video.size)
            overlaps.add(truth, track_masks(found, t, video.size), given)
        yield overlaps
