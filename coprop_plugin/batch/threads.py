"""How many threads a process computes with, whichever library computes."""

from contextlib import suppress

import torch


def compute_with(threads: int) -> None:
    """Let torch, OpenCV and the decoder of videos take so many threads each.

    Processes that share a machine would otherwise take all of its cores each, and wait for one
    another.
    """
    # The decoder takes as many as torch, see `VideoSource`.
    torch.set_num_threads(threads)
    with suppress(ImportError):
        import cv2

        cv2.setNumThreads(threads)
