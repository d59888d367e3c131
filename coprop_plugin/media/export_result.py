"""Export of a finished result in formats of editors and annotation tools."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from coprop_plugin.errors import MediaError
from coprop_plugin.media.class_name_files import class_names
from coprop_plugin.media.coco import coco_of
from coprop_plugin.media.folders import write_text, writing
from coprop_plugin.media.masks import read_picture
from coprop_plugin.media.matte import MatteTrack, pictures_at, save_alphas_of
from coprop_plugin.media.previous_result import content_digest
from coprop_plugin.media.replace_folder import replace_folder
from coprop_plugin.media.result_json import read_manifest, source_of, tracks_of
from coprop_plugin.media.rewrite import Spans, rewrite_video
from coprop_plugin.media.training_layouts import write_davis, write_yolo
from coprop_plugin.media.video_formats import PRORES_4444, VP9_ALPHA, VideoFormat
from coprop_plugin.types import spans_of

ExportFormat = Literal["png-alpha", "prores4444", "vp9-alpha", "coco", "yolo-seg", "davis"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
"""The formats of `export`."""
_VIDEOS: dict[ExportFormat, VideoFormat] = {"prores4444": PRORES_4444, "vp9-alpha": VP9_ALPHA}


def export(
    folder: str | Path,
    format_name: ExportFormat,
    *,
    video: str | Path | None = None,
    classes: str | Path | None = None,
) -> Path:
    """Export a finished result into its own folder, for other programs.

    - `"png-alpha"`: `alpha/%05d.png`, the segmented frames with alpha.
    - `"prores4444"`: `alpha.mov`, all frames of the video with alpha, for editors.
    - `"vp9-alpha"`: `alpha.webm`, the same, small, for browsers.
    - `"coco"`: `coco.json`, masks as COCO run lengths, one annotation per class and frame; its
      images are those of `"png-alpha"`.
    - `"yolo-seg"`: `yolo/`, pictures, polygons and `data.yaml` for YOLO's segmentation.
    - `"davis"`: `davis/`, pictures and masks in the layout of DAVIS 2017.

    Alpha is the probability that a pixel sounds. Videos have the source's time stamps and audio.
    An earlier export is replaced when the new one is complete.

    Args:
        folder: What `SegmentationResult.save`, `coprop run` or `redo` wrote.
        format_name: One of `FORMATS`.
        video: The file that was segmented; by default the path in `result.json`, or a file of
            that name next to the folder.
        classes: A file of class names, for `"coco"` and `"yolo-seg"`; see `class_names`.

    Returns:
        The written file or folder.

    Raises:
        MediaError: If the format is unknown, the folder holds no finished result, the video is
            missing or a different one, or the export cannot be written.

    Example:
        >>> export("out/talk", "prores4444")  # doctest: +SKIP
        PosixPath('out/talk/alpha.mov')
    """
    folder = Path(folder)
    if format_name not in FORMATS:
        raise MediaError(f"Expected one of {', '.join(FORMATS)}, got {format_name!r}.")
    content = read_manifest(folder)
    if content is None:
        raise MediaError(
            f"{folder} holds no finished result (no result.json that this library wrote). Name a "
            "folder that `coprop run -o OUT` wrote: OUT/<name of the input>."
        )
    if format_name == "coco":
        return _coco(folder, content, classes)
    source = _checked_source(folder, content, video)
    masks, times, tracks = folder / "masks", content["times"], tracks_of(content)
    if format_name == "png-alpha":
        return _folder(
            folder / "alpha",
            lambda new: save_alphas_of(source, times, folder / "probs", new, tracks),
        )
    if format_name == "yolo-seg":
        names = class_names(content["num_classes"], classes, content.get("class_names"))
        return _folder(
            folder / "yolo",
            lambda new: write_yolo(masks, pictures_at(source, times, tracks), names, new),
        )
    if format_name == "davis":
        name = folder.resolve().name
        return _folder(
            folder / "davis",
            lambda new: write_davis(masks, pictures_at(source, times, tracks), name, new),
        )
    path = folder / f"alpha{_VIDEOS[format_name].suffix}"
    spans = Spans(spans_of(torch.tensor(content["times"]).double(), content["sampling"]))
    matte = MatteTrack(spans, lambda t: read_picture(folder / "probs", t))
    rewrite_video(path, source, matte.add_to, _VIDEOS[format_name], tracks_of(content))
    return path


def _coco(folder: Path, content: dict[str, Any], classes: str | Path | None) -> Path:
    names = class_names(content["num_classes"], classes, content.get("class_names"))

    def frames() -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
        for t, time_s in enumerate(content["times"]):
            yield time_s, read_picture(folder / "masks", t), read_picture(folder / "probs", t)

    made = coco_of(frames(), names, content.get("source") or folder.resolve().name)
    return write_text(folder / "coco.json", json.dumps(made) + "\n")


def _folder(target: Path, write: Callable[[Path], None]) -> Path:
    """Have a folder written beside its final name, then renamed; an earlier one is replaced."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    with writing(target.parent):
        try:
            partial.mkdir()
            write(partial)
            replace_folder(partial, target, Path.is_dir)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target


def _checked_source(folder: Path, content: dict[str, Any], video: str | Path | None) -> Path:
    source = source_of(folder, content) if video is None else Path(video)
    if source is None or not source.is_file():
        raise MediaError(
            f"There is no video for {folder}: {video or content['source'] or 'its source'} was not "
            "found. Name the video that was segmented: `--video`, in Python `video=`."
        )
    if content.get("source_digest") not in (None, content_digest(source)):
        raise MediaError(
            f"{source} is not the video that {folder} was made from. Name that one (`--video`, "
            "in Python `video=`), or run this one again."
        )
    return source
