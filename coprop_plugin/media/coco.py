"""Masks as COCO annotations with compressed run lengths, readable with pycocotools."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from coprop_plugin.errors import MediaError, short_reason
from coprop_plugin.limits import PIXELS
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


def mask_of_run_lengths(lengths: Mapping[str, Any]) -> np.ndarray:
    """Return the mask `[H, W]` bool of COCO's run lengths, compressed or as a list of counts.

    Raises:
        MediaError: If they are no run lengths of a mask of their size, or of too large a one.

    Example:
        >>> mask_of_run_lengths({"size": [2, 3], "counts": [2, 3, 1]}).astype(int).tolist()
        [[0, 1, 1], [0, 1, 0]]
    """
    try:
        height, width = (int(extent) for extent in lengths["size"])
        text = lengths["counts"]
        counts = _numbers(text) if isinstance(text, str) else [int(count) for count in text]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise MediaError(
            f"Expected COCO run lengths with `size` and `counts`, got {short_reason(error)}. Write "
            "them with pycocotools."
        ) from error
    PIXELS.check(height * width, "a mask in run lengths", MediaError)
    if min(height, width) < 1 or min(counts, default=0) < 0 or sum(counts) != height * width:
        raise MediaError(
            f"Expected run lengths of {height} x {width} pixels, got {sum(counts)}. The file is "
            "damaged: download it again."
        )
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def _numbers(text: str) -> list[int]:
    """Undo what `run_lengths` does to its counts."""
    counts: list[int] = []
    place = 0
    while place < len(text):
        number = shift = 0
        more = True
        while more:
            code = ord(text[place]) - 48
            number |= (code & 31) << shift
            more = bool(code & 32)
            place, shift = place + 1, shift + 5
            if shift > 60:
                raise ValueError("a count of more than 60 bits")
        if code & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
    return counts


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
