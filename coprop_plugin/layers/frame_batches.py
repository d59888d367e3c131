"""Frames through a network in batches, so that memory does not grow with their number."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def segment_in_batches(
    segment: Callable[[Sequence[int]], Tensor],
    indices: Sequence[int],
    frames_at_once: int,
    empty: Tensor,
) -> Tensor:
    """Segment frames, at most `frames_at_once` per call.

    The pipeline never requests more than `frames_at_once` frames of a backend; this bounds the
    memory of a direct call of `segment_keyframes`.

    Args:
        segment: Returns the logits `[K, C, H, W]` of K frame indices.
        indices: The frames.
        frames_at_once: Most frames per call of `segment`.
        empty: What to return for no frames, `[0, C, H, W]`.

    Example:
        >>> def segment(batch):
        ...     return torch.tensor(batch).reshape(-1, 1, 1, 1)
        >>> segment_in_batches(segment, [3, 1, 4], 2, torch.zeros(0, 1, 1, 1)).flatten().tolist()
        [3, 1, 4]
    """
    starts = range(0, len(indices), frames_at_once)
    logits = [segment(indices[start : start + frames_at_once]) for start in starts]
    if len(logits) == 1:
        # All classes of a large picture take long to copy.
        return logits[0]
    return torch.cat(logits) if logits else empty
