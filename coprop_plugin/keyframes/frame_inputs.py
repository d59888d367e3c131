"""Checks of the Keyframe Processor's input."""

from collections.abc import Sequence

from torch import Tensor

from coprop_plugin.audio.log_mel import EXAMPLE_FRAMES, NUM_BANDS
from coprop_plugin.errors import KeyframeError


def check_words(frames: Tensor, words: Sequence[Sequence[str]] | None) -> Sequence[Sequence[str]]:
    """Return the words of each frame, equally many and at least one.

    Raises:
        KeyframeError: If they are missing.
    """
    if words is None or len(words) != len(frames) or len({len(w) for w in words} | {0}) != 2:
        raise KeyframeError(
            f"A processor that is guided by text needs words for each of {len(frames)} frames, "
            "equally many, got "
            f"{'none' if words is None else [len(w) for w in words]}. Pass words=[['dog'], ...]."
        )
    return words


def check_input(frames: Tensor, log_mel: Tensor | None) -> Tensor:
    """Return the log-mels, if the input is frames `[B, 3, H, W]` and an example for each.

    Raises:
        KeyframeError: If a shape differs.
    """
    wanted = (len(frames), 1, EXAMPLE_FRAMES, NUM_BANDS)
    got = None if log_mel is None else tuple(log_mel.shape)
    if log_mel is None or frames.ndim != 4 or frames.shape[1] != 3 or got != wanted:
        raise KeyframeError(
            "Expected frames [B, 3, H, W] and log_mel [B, 1, 96, 64], one example per frame, got "
            f"frames of shape {list(frames.shape)} and log_mel {got and list(got)}. "
            "`coprop_plugin.audio.log_mel.clip_log_mel(clip)` returns the examples of a clip."
        )
    return log_mel
