"""Masks as COCO annotations with compressed run lengths, readable with pycocotools."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from coprop_plugin.media.masks import mask_box, picture_name


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask `[H, W]` as COCO's compressed run lengths: `size` and `counts`.

    The lengths of alternating runs of zeros and ones, zeros first, column by column; from the
    fourth run on, the difference to the run two before it; six bits per character, the lowest
    first.

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
    """Encode an integer in groups of five bits; a sixth bit tells that more groups follow."""
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
    """Yield one annotation per class in a mask.

    Args:
        mask: Class ids `[H, W]`, 0 the background.
        probs: `[H, W]` uint8, 255 times the probability that a pixel sounds.
        image_id: Id of the frame.
        first_id: Id of the first annotation.
    """
    for k, class_id in enumerate(np.unique(mask[mask > 0]).tolist()):
        inside = mask == class_id
        left, top, right, bottom = mask_box(inside)
        yield {
            "id": first_id + k,
            "image_id": image_id,
            "category_id": class_id,
            "segmentation": run_lengths(inside),
            "area": int(inside.sum()),
            "bbox": [left, top, right - left, bottom - top],
            "iscrowd": 0,
            "score": round(float(probs[inside].mean()) / 255, 4),
        }


def coco_of(
    frames: Iterator[tuple[float, np.ndarray, np.ndarray]], names: Sequence[str], source: str
) -> dict[str, Any]:
    """Return frames as COCO JSON: one image per frame, one annotation per class in it.

    Images have the names of the exported frames, `alpha/%05d.png`.

    Args:
        frames: Time in seconds, class ids `[H, W]`, and 255 times the probability that a pixel
            sounds.
        names: Names of the classes, the background first.
        source: File name of the video.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for t, (time_s, mask, probs) in enumerate(frames):
        height, width = mask.shape
        image = {
            "id": t + 1,
            "file_name": f"alpha/{picture_name(t)}",
            "width": width,
            "height": height,
        }
        images.append({**image, "frame": t, "time_s": round(time_s, 6)})
        annotations += annotations_of(mask, probs, t + 1, len(annotations) + 1)
    return {
        "info": {"description": f"Sounding objects in {source}", "video": source},
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": k, "name": name, "supercategory": "sound"}
            for k, name in enumerate(names)
            if k > 0
        ],
    }
