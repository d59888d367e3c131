"""Masks as COCO annotations: run lengths, in the compact text that COCO's own tools read."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask `[H, W]` as COCO's compressed run lengths: `size` and `counts`.

    Runs of zeros and ones in turn, zeros first, column by column; from the third on, the
    difference to the one before the last; six bits a character, the lowest first.

    Example:
        >>> run_lengths(np.eye(5))
        {'size': [5, 5], 'counts': '0150000000'}
    """
    mask = np.asarray(mask)
    pixels = (mask > 0).T.ravel()
    changes = (np.flatnonzero(pixels[1:] != pixels[:-1]) + 1).tolist()
    counts = np.diff([0, *changes, pixels.size]).tolist()
    if pixels[:1].any():
        counts.insert(0, 0)
    earlier = [0, 0, 0, *counts[1:]]
    text = "".join(_text(count - before) for count, before in zip(counts, earlier, strict=False))
    return {"size": list(mask.shape), "counts": text}


def _text(number: int) -> str:
    """Write a whole number in groups of five bits, a sixth saying that more come."""
    text = ""
    while True:
        bits, number = number & 31, number >> 5
        done = number == (-1 if bits & 16 else 0)
        text += chr(48 + bits + (0 if done else 32))
        if done:
            return text


def annotations_of(
    mask: np.ndarray, probs: np.ndarray, image_id: int, first_id: int
) -> Iterator[dict[str, Any]]:
    """Yield an annotation for each class in a mask.

    Args:
        mask: Class ids `[H, W]`, 0 the background.
        probs: `[H, W]` uint8, 255 times the probability that a pixel sounds.
        image_id: Of the frame.
        first_id: Of the first annotation.
    """
    for k, class_id in enumerate(np.unique(mask[mask > 0]).tolist()):
        inside = mask == class_id
        rows, columns = inside.any(1).nonzero()[0], inside.any(0).nonzero()[0]
        top, left = int(rows[0]), int(columns[0])
        yield {
            "id": first_id + k,
            "image_id": image_id,
            "category_id": class_id,
            "segmentation": run_lengths(inside),
            "area": int(inside.sum()),
            "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
            "iscrowd": 0,
            "score": round(float(probs[inside].mean()) / 255, 4),
        }


def coco_of(
    frames: Iterator[tuple[float, np.ndarray, np.ndarray]], names: Sequence[str], source: str
) -> dict[str, Any]:
    """Return frames as COCO's JSON: an image each, an annotation for each class in it.

    Args:
        frames: Time in seconds, class ids `[H, W]`, and 255 times the probability that a pixel
            sounds.
        names: Of the classes, the background first.
        source: The video's name.
    """
    images, annotations = [], []
    for t, (time_s, mask, probs) in enumerate(frames):
        height, width = mask.shape
        image = {"id": t + 1, "file_name": f"{source}#{t:05d}", "width": width, "height": height}
        images.append({**image, "frame": t, "time_s": round(time_s, 6)})
        annotations += annotations_of(mask, probs, t + 1, len(annotations) + 1)
    return {
        "info": {"description": f"What sounds in {source}", "video": source},
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": k, "name": name, "supercategory": "sound"}
            for k, name in enumerate(names)
            if k > 0
        ],
    }
