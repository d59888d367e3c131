"""Clips of the synthetic world on which parts are checked."""

from dataclasses import replace
from functools import cache

import torch

from coprop_plugin.types import Clip
from coprop_plugin.world import Scene

SIZE = (72, 104)
"""Neither side is a multiple of 16 or 32, as videos' sides need not be."""

OTHER_SIZE = (50, 34)
FRAMES = 7


@cache
def check_clip(fps: float = 1.0, size: tuple[int, int] = SIZE, frames: int = FRAMES) -> Clip:
    """Return a clip in which sounds begin and end."""
    return Scene.made_up(seed=3, duration_s=frames / fps, size=size).clip(fps=fps)


def silent(clip: Clip) -> Clip:
    """Return the clip with a waveform of zeros."""
    assert clip.waveform is not None
    return replace(clip, waveform=torch.zeros_like(clip.waveform))


def without_frames(clip: Clip) -> Clip:
    """Return the clip with frames of zeros, as providers get them for long videos."""
    return replace(clip, frames=torch.zeros_like(clip.frames))


def changed_elsewhere(clip: Clip, index: int, margin_s: float = 1.5) -> Clip:
    """Return the clip with other frames and sound, but for one frame and the sound around it.

    Args:
        clip: The clip.
        index: The frame that stays.
        margin_s: Sound nearer to it than this stays.
    """
    assert clip.waveform is not None
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(256, clip.frames.shape, dtype=torch.uint8, generator=generator)
    frames = frames if clip.frames.dtype == torch.uint8 else frames.float() / 255
    frames[index] = clip.frames[index]
    times = torch.arange(len(clip.waveform)) / clip.sample_rate
    noise = torch.rand(len(times), generator=generator) - 0.5
    near = (times - float(clip.times[index])).abs() < margin_s
    return replace(clip, frames=frames, waveform=torch.where(near, clip.waveform, noise))
