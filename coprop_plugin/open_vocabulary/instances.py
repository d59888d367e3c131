"""Things that a word names in a picture, and what finds them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from coprop_plugin.types import ABSENT_LOGIT, Box


@dataclass(frozen=True, eq=False)
class Instance:
    """One thing that a word names.

    Args:
        box: Where it is, in pixels.
        score: How sure the finder is, in [0, 1].
        logits: `[H, W]`, above 0 inside.
    """

    box: Box
    score: float
    logits: Tensor


class Finder(Protocol):
    """Finds what words name in a picture."""

    model_id: str
    """Its name in logs."""

    def find(self, picture: Tensor, words: Sequence[str]) -> list[list[Instance]]:
        """Return the instances of each word in a picture `[3, H, W]`, the surest first."""
        ...

    def in_boxes(self, picture: Tensor, word: str, boxes: Sequence[Box]) -> list[Instance]:
        """Return what a word names in each of some boxes; never nothing."""
        ...


def boxes_of(masks: Tensor) -> list[Box]:
    """Return the boxes around masks `[N, H, W]`, which are not empty.

    Example:
        >>> mask = torch.zeros(1, 4, 6, dtype=torch.bool)
        >>> mask[0, 1:3, 2:6] = True
        >>> boxes_of(mask)
        [(2.0, 1.0, 6.0, 3.0)]
    """
    found = []
    for mask in masks:
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
        found.append((float(left), float(top), float(right), float(bottom)))
    return found


def cut_to_box(logits: Tensor, box: Box) -> Tensor:
    """Leave logits `[H, W]` inside a box alone; if nothing is above 0 there, fill the box.

    Example:
        >>> (cut_to_box(torch.tensor([[1.0, 1.0, -1.0]]), (1, 0, 3, 1)) > 0).tolist()
        [[False, True, False]]
        >>> (cut_to_box(torch.tensor([[1.0, -1.0, -1.0]]), (1, 0, 3, 1)) > 0).tolist()
        [[False, True, True]]
    """
    inside = torch.zeros_like(logits, dtype=torch.bool)
    left, top, right, bottom = (max(0, round(n)) for n in box)
    inside[top:bottom, left:right] = True
    filled = logits if bool((inside & (logits > 0)).any()) else torch.full_like(logits, 1.0)
    return torch.where(inside, filled, torch.full_like(logits, ABSENT_LOGIT))


def without_doubles(
    boxes: Tensor, scores: Tensor, most: int = 10, overlap: float = 0.5
) -> list[int]:
    """Return which boxes to keep: the surest first, none that overlaps a surer one much.

    Args:
        boxes: `[N, 4]`.
        scores: `[N]`.
        most: The largest number of them.
        overlap: The largest IoU of two.

    Example:
        >>> boxes = torch.tensor([[0, 0, 8, 8], [0, 0, 8, 9], [20, 0, 28, 8]]).float()
        >>> without_doubles(boxes, torch.tensor([0.5, 0.9, 0.6]))
        [1, 2]
    """
    kept: list[int] = []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for n in scores.argsort(descending=True).tolist():
        if len(kept) == most:
            break
        start = torch.maximum(boxes[kept, :2], boxes[n, :2])
        end = torch.minimum(boxes[kept, 2:], boxes[n, 2:])
        shared = (end - start).clamp_min(0).prod(1)
        if not bool((shared > overlap * (area[kept] + area[n] - shared)).any()):
            kept.append(n)
    return kept
