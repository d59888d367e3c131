"""Results on the CPU, a few frames behind the accelerator that computes them."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from coprop_plugin.layers import CPUCopy
from coprop_plugin.types import FrameResult

FRAMES_BEHIND = 4
"""Frames that an accelerator goes on while the results of one are copied."""


def on_cpu(results: Iterable[FrameResult], behind: int = FRAMES_BEHIND) -> Iterator[FrameResult]:
    """Yield results with their tensors on the CPU.

    Results from a GPU are copied while it computes the next ones, so that it never waits for a
    copy; others are passed on at once.

    Args:
        results: In order.
        behind: How many results of a GPU are held back.
    """
    copying: deque[tuple[FrameResult, CPUCopy]] = deque()
    for result in results:
        copying.append((result, CPUCopy(result.mask, result.class_probs)))
        held = behind if result.class_probs.is_cuda else 0
        while len(copying) > held:
            yield _copied(*copying.popleft())
    for each in copying:
        yield _copied(*each)


def _copied(result: FrameResult, copy: CPUCopy) -> FrameResult:
    mask, probs = copy.tensors()
    if mask is result.mask and probs is result.class_probs:
        return result
    return replace(result, mask=mask, class_probs=probs)
