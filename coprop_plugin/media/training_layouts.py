"""A result in the layouts that trainers of segmentation models read: YOLO and DAVIS."""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from coprop_plugin.media.masks import picture_name, read_picture


def write_davis(masks: Path, pictures: Iterable[np.ndarray], name: str, folder: Path) -> None:
    """Write `JPEGImages`, `Annotations` and `ImageSets` as DAVIS 2017 has them.

    Pixels of annotations are class ids, 0 the background.

    Args:
        masks: The masks of a result.
        pictures: The frames, `[H, W, 3]` uint8.
        name: Name of the sequence.
        folder: Where to write.

    Raises:
        MediaError: If a mask cannot be read.
    """
    images, annotations, sets = (
        folder / "JPEGImages" / "480p" / name,
        folder / "Annotations" / "480p" / name,
        folder / "ImageSets" / "2017",
    )
    for made in (images, annotations, sets):
        made.mkdir(parents=True)
    for t, picture in enumerate(pictures):
        Image.fromarray(picture).save(images / f"{t:05d}.jpg", quality=95)
        shutil.copyfile(masks / picture_name(t), annotations / picture_name(t))
    (sets / "val.txt").write_text(f"{name}\n", "utf-8")


def write_yolo(
    masks: Path, pictures: Iterable[np.ndarray], names: Sequence[str], folder: Path
) -> None:
    """Write `images`, `labels` and `data.yaml` as YOLO's segmentation reads them.

    A line of a label is a class and a polygon, relative to the size of the picture: an outline of
    a connected part of a class. Holes are lost, as the format has none.

    Args:
        masks: The masks of a result.
        pictures: The frames, `[H, W, 3]` uint8.
        names: Names of the classes, the background first.
        folder: Where to write.

    Raises:
        MediaError: If a mask cannot be read.
    """
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for t, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / "images" / f"{t:05d}.jpg", quality=95)
        lines = [f"{line}\n" for line in yolo_lines(read_picture(masks, t))]
        (folder / "labels" / f"{t:05d}.txt").write_text("".join(lines))
    # JSON is YAML, and quotes whatever a name holds.
    described = {"path": ".", "train": "images", "val": "images", "names": list(names[1:])}
    (folder / "data.yaml").write_text(json.dumps(described, indent=1) + "\n", "utf-8")


def yolo_lines(mask: np.ndarray) -> Iterator[str]:
    """Yield a line for each connected part of a class: the class from 0 on, and a polygon.

    Args:
        mask: Class ids `[H, W]`, 0 the background.

    Example:
        >>> list(yolo_lines(np.pad(np.full((2, 2), 3, np.uint8), 1)))
        ['2 0.25 0.25 0.25 0.5 0.5 0.5 0.5 0.25']
    """
    import cv2

    height, width = mask.shape
    for class_id in np.unique(mask[mask > 0]).tolist():
        inside = (mask == class_id).astype(np.uint8)
        outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for outline in outlines:
            # A polygon has at least three corners; fewer are a line of pixels.
            if len(outline) >= 3:
                corners = outline.reshape(-1, 2) / (width, height)
                yield " ".join([str(class_id - 1), *(f"{value:.6g}" for value in corners.flat)])
