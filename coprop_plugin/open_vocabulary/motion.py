"""Which of several visible instances sounds: the one whose motion goes with the sound's energy."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from coprop_plugin.open_vocabulary.instances import Instance
from coprop_plugin.types import Clip

_BEFORE_S, _AFTER_S = 0.5, 2.0
"""How much of the clip before and after a keyframe is looked at, in seconds."""

_LEAST_FRAMES = 4
_LEAD = 1.5
"""How many times as much as the next one an instance must go with the sound to be chosen."""


def sounding_instances(
    clip: Clip, index: int, instances: Sequence[Instance], until_s: float = math.inf
) -> list[Instance]:
    """Return the instance whose motion goes with the sound; all of them where that is undecided.

    Motion is the mean change of a frame inside the instance's box from one frame to the next, less
    that of the frame as a whole; the sound's energy is the loudness between the two frames. Both
    are compared from half a second before the keyframe to two seconds after it.

    Args:
        clip: Frames around the keyframe, with their sound.
        index: The keyframe.
        instances: What a word names in it.
        until_s: The end of its segment, in seconds; no frame after it is looked at.
    """
    since_s = clip.times - clip.times[index]
    near = (since_s >= -_BEFORE_S) & (since_s <= _AFTER_S) & (clip.times < until_s)
    frames = near.nonzero().flatten().tolist()
    if len(instances) < 2 or len(frames) <= _LEAST_FRAMES or clip.waveform is None:
        return list(instances)
    scores = [goes_with_sound(clip, frames, one) for one in instances]
    best = max(range(len(scores)), key=scores.__getitem__)
    others = max(score for n, score in enumerate(scores) if n != best)
    decided = scores[best] > 0 and scores[best] > _LEAD * others
    return [instances[best]] if decided else list(instances)


def goes_with_sound(clip: Clip, frames: Sequence[int], instance: Instance) -> float:
    """Return how much an instance moves while it is loud: the loudness-weighted mean motion.

    Where the loudness changes, what it moves while it is quiet is taken off.
    """
    left, top, right, bottom = (max(0, round(n)) for n in instance.box)
    grey = clip.rgb(frames).mean(1)
    change = grey.diff(dim=0).abs()
    inside = change[:, top:bottom, left:right].flatten(1)
    if not inside.numel():
        return 0.0
    motion = (inside.mean(1) - change.flatten(1).median(1).values).clamp_min(0)
    loudness = _loudness(clip, frames)
    weights = loudness / loudness.sum().clamp_min(1e-9)
    quiet = (loudness.max() - loudness).clamp_min(0)
    loud_motion = float((motion * weights).sum())
    if float(quiet.max()) < 0.5 * float(loudness.max()):
        return loud_motion
    return loud_motion - float((motion * quiet / quiet.sum()).sum())


def _loudness(clip: Clip, frames: Sequence[int]) -> Tensor:
    """Return the loudness between successive frames, `[len(frames) - 1]`."""
    assert clip.waveform is not None
    marks = (clip.times[list(frames)] * clip.sample_rate).round().long().tolist()
    parts = [clip.waveform[a:b] for a, b in zip(marks, marks[1:], strict=False)]
    return torch.stack([p.square().mean().sqrt() if len(p) else torch.tensor(0.0) for p in parts])
