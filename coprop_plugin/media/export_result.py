"""A finished result in the forms that editors and annotation tools take."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coprop_plugin.errors import MediaError
from coprop_plugin.media.class_name_files import class_names
from coprop_plugin.media.coco import coco_of
from coprop_plugin.media.folders import write_text, writing
from coprop_plugin.media.masks import read_picture
from coprop_plugin.media.matte import MatteTrack, save_alphas_of
from coprop_plugin.media.previous_result import content_digest
from coprop_plugin.media.result_json import read_manifest, source_of
from coprop_plugin.media.rewrite import Spans, write_again
from coprop_plugin.media.video_formats import PRORES_4444, VP9_ALPHA
from coprop_plugin.types import spans_of

_VIDEOS = {"prores4444": PRORES_4444, "vp9-alpha": VP9_ALPHA}
FORMATS = ("png-alpha", *_VIDEOS, "coco")
"""What `export` writes."""


def export(
    folder: str | Path,
    form: str,
    *,
    video: str | Path | None = None,
    classes: str | Path | None = None,
) -> Path:
    """Write a finished result once more, into its own folder, for other programs.

    - `"png-alpha"`: `alpha/%05d.png`, the segmented frames with alpha.
    - `"prores4444"`: `alpha.mov`, all pictures of the video with alpha, for editors.
    - `"vp9-alpha"`: `alpha.webm`, the same, small, for browsers.
    - `"coco"`: `coco.json`, masks as COCO's run lengths, one annotation a class a frame.

    Alpha is the probability that a pixel sounds. Videos have the source's time stamps and sound.
    What an earlier export wrote is replaced when the new one is complete.

    Args:
        folder: What `SegmentationResult.save`, `coprop run` or `redo` wrote.
        form: One of `FORMATS`.
        video: The file that was segmented; by default where the run says, or beside the folder.
        classes: A file of class names, for `"coco"`; see `class_names`.

    Returns:
        What was written.

    Raises:
        MediaError: If there is no such form, the folder holds no finished result, the video is
            gone or another one, or the export cannot be written.

    Example:
        >>> export("out/talk", "prores4444")  # doctest: +SKIP
        PosixPath('out/talk/alpha.mov')
    """
    folder = Path(folder)
    if form not in FORMATS:
        raise MediaError(f"Got the format {form!r}; there are {', '.join(FORMATS)}.")
    content = read_manifest(folder)
    if content is None:
        raise MediaError(
            f"{folder} holds no finished result (no result.json that this library wrote). Give the "
            "folder that `coprop run -o OUT` named: OUT/<name of the input>."
        )
    if form == "coco":
        return _coco(folder, content, classes)
    source = _checked_source(folder, content, video)
    if form == "png-alpha":
        return _pictures(folder, content, source)
    path = folder / f"alpha{_VIDEOS[form].suffix}"
    spans = Spans(spans_of(torch.tensor(content["times"]).double(), content["sampling"]))
    matte = MatteTrack(spans, lambda t: read_picture(folder / "probs", t))
    write_again(path, source, matte.add_to, _VIDEOS[form])
    return path


def _coco(folder: Path, content: dict[str, Any], classes: str | Path | None) -> Path:
    names = class_names(content["num_classes"], classes, content.get("class_names"))

    def frames() -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
        for t, time_s in enumerate(content["times"]):
            yield time_s, read_picture(folder / "masks", t), read_picture(folder / "probs", t)

    made = coco_of(frames(), names, content.get("source") or folder.resolve().name)
    return write_text(folder / "coco.json", json.dumps(made) + "\n")


def _pictures(folder: Path, content: dict[str, Any], source: Path) -> Path:
    target, partial = folder / "alpha", folder / f".alpha.{os.getpid()}.part"
    with writing(folder):
        try:
            partial.mkdir()
            save_alphas_of(source, content["times"], folder / "probs", partial)
            shutil.rmtree(target, ignore_errors=True)
            os.rename(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target


def _checked_source(folder: Path, content: dict[str, Any], video: str | Path | None) -> Path:
    source = source_of(folder, content) if video is None else Path(video)
    if source is None or not source.is_file():
        raise MediaError(
            f"Got no video for {folder}: {video or content['source'] or 'its source'} is gone. "
            "Name the video that was segmented with --video."
        )
    if content.get("source_digest") not in (None, content_digest(source)):
        raise MediaError(
            f"{source} is not the video that {folder} was made from. Name that one with --video, "
            "or segment this one."
        )
    return source
