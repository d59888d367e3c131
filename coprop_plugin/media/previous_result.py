"""A finished result that another one is made from, and what a person edited in it."""

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
from coprop_plugin.media.masks import mask_digest, picture_name, read_painted_mask
from coprop_plugin.media.result_json import read_manifest
from coprop_plugin.types import ControlPoints

_BLOCKS, _BLOCK = 32, 2**16


@dataclass(frozen=True)
class PreviousResult:
    """What a results folder holds, and what it held when it was written.

    Args:
        folder: Where it is.
        content: Its `result.json`.
        points: The control points that it was made with, whatever its `control_points.json` says
            by now.
        edited: Frames whose mask was a person's already when it was made.
    """

    folder: Path
    content: Mapping[str, Any]
    points: ControlPoints
    edited: frozenset[int]

    @classmethod
    def read(cls, folder: str | Path) -> "PreviousResult":
        """Read a results folder.

        Raises:
            MediaError: If it holds no finished result, or one that does not say how it was made.
        """
        folder = Path(folder)
        content = read_manifest(folder)
        if content is None:
            raise MediaError(
                f"{folder} holds no finished result to reuse (no result.json that this library "
                "wrote). Give the folder that `coprop run -o OUT` named: OUT/<name of the input>."
            )
        try:
            points = ControlPoints.from_dict(content["made_with"])
            edited = frozenset(int(t) for t in content["edited"])
            whole = len(content["digests"]) == points.num_frames == content["num_frames"]
        except (LookupError, TypeError, ValueError, ArithmeticError):
            whole = False
        if not whole:
            raise MediaError(
                f"{folder / 'result.json'} does not say how the result was made: an older version "
                "wrote it, or it was changed. Run that input again with --redo."
            )
        return cls(folder, content, points, edited)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the masks."""
        height, width = self.content["size"]
        return height, width

    def painted(self) -> tuple[dict[int, np.ndarray], frozenset[int]]:
        """Return the masks that are a person's, and the frames that are not what was written.

        A person's are those that differ from what was written, and those that were a person's
        before: class ids `[H, W]` by frame. A frame whose pictures are gone was changed, too.

        Raises:
            MediaError: If one of the masks cannot be read as class ids.
        """
        masks, changed = {}, set()
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
        """Copy mask and probabilities of a frame, byte for byte; returns the mask's digest."""
        for part in ("masks", "probs"):
            shutil.copyfile(self.folder / part / picture_name(t), target / part / picture_name(t))
        return self.content["digests"][t]

    def copy_bare(self, target: Path) -> None:
        """Copy the bare model's result, if there is any: no edit changes it."""
        if read_manifest(self.folder / BARE) is not None:
            shutil.copytree(self.folder / BARE, target / BARE)


def content_digest(path: Path) -> str:
    """Return what tells a file from another: its size, and a hash of 2 MiB spread over it.

    Raises:
        OSError: If it cannot be read.
    """
    size = os.path.getsize(path)
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for k in range(_BLOCKS):
            file.seek(max(0, size - _BLOCK) * k // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:32]
