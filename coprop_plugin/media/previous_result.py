"""A finished result that is reused for another one, and the edits made in it by hand."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coprop_plugin.errors import MediaError
from coprop_plugin.media.folders import BARE
from coprop_plugin.media.frame_folder import frame_paths
from coprop_plugin.media.masks import mask_digest, picture_name, read_painted_mask
from coprop_plugin.media.result_json import read_manifest
from coprop_plugin.types import ControlPoints

_BLOCKS, _BLOCK = 32, 2**16


@dataclass(frozen=True)
class PreviousResult:
    """The content of a results folder, now and when it was written.

    Args:
        folder: The results folder.
        content: Its `result.json`.
        points: The control points that it was made with, without later edits of
            `control_points.json`.
        edited: Frames whose mask was already edited by hand when it was made.
    """

    folder: Path
    content: Mapping[str, Any]
    points: ControlPoints
    edited: frozenset[int]

    @classmethod
    def read(cls, folder: str | Path) -> "PreviousResult":
        """Read a results folder.

        Raises:
            MediaError: If it holds no finished result, or one without the data to reuse it.
        """
        folder = Path(folder)
        content = read_manifest(folder)
        if content is None:
            raise MediaError(
                f"{folder} holds no finished result to reuse (no result.json that this library "
                "wrote). Name a folder that `coprop run -o OUT` wrote: OUT/<name of the input>."
            )
        try:
            points = ControlPoints.from_dict(content["made_with"])
            edited = frozenset(int(t) for t in content["edited"])
            whole = len(content["digests"]) == points.num_frames == content["num_frames"]
        except (LookupError, TypeError, ValueError, ArithmeticError):
            whole = False
        if not whole:
            raise MediaError(
                f"{folder / 'result.json'} does not say how the result was made: it was edited, or "
                "written by an older version. Run that input again with --redo."
            )
        return cls(folder, content, points, edited)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the masks."""
        height, width = self.content["size"]
        return height, width

    def origin(self, t: int) -> Any:
        """Return how the mask of a frame was made, in JSON types; None if that is unknown."""
        frames = self.content.get("frames")
        return frames[t] if isinstance(frames, list) and t < len(frames) else None

    def painted(self) -> tuple[dict[int, np.ndarray], frozenset[int]]:
        """Return the masks edited by hand, and the frames that changed since they were written.

        Edited are masks that differ from what was written, and those that were edited before:
        class ids `[H, W]` by frame. A frame whose images are missing has changed, too.

        Raises:
            MediaError: If one of the masks cannot be read as class ids.
        """
        masks: dict[int, np.ndarray] = {}
        changed: set[int] = set()
        for t, written in enumerate(self.content["digests"]):
            path, prob = (self.folder / part / picture_name(t) for part in ("masks", "probs"))
            if not prob.is_file():
                changed.add(t)
            if not path.is_file():
                changed.add(t)
                continue
            mask = read_painted_mask(path, self.size, self.content["num_classes"])
            if mask_digest(mask) != written:
                changed.add(t)
                masks[t] = mask
            elif t in self.edited:
                masks[t] = mask
        return masks, frozenset(changed)

    def copy_frame(self, t: int, target: Path) -> str:
        """Copy mask and probabilities of a frame unchanged; returns the digest of the mask."""
        for part in ("masks", "probs"):
            shutil.copyfile(self.folder / part / picture_name(t), target / part / picture_name(t))
        return self.content["digests"][t]

    def copy_bare(self, target: Path) -> None:
        """Copy the bare model's result, if there is one; edits do not change it."""
        if read_manifest(self.folder / BARE) is not None:
            shutil.copytree(self.folder / BARE, target / BARE)


def content_digest(path: Path) -> str:
    """Return a hash of a file's size and of 2 MiB spread over its content.

    Of a folder of frames, of their names, sizes and times.

    Raises:
        OSError: If it cannot be read.
    """
    if path.is_dir():
        entries = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in frame_paths(path)]
        return hashlib.sha256(repr(entries).encode()).hexdigest()[:32]
    size = os.path.getsize(path)
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for k in range(_BLOCKS):
            file.seek(max(0, size - _BLOCK) * k // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:32]
