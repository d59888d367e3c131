"""Small results with known masks, for tests of what is saved."""

import numpy as np
import torch
from make_media import chirp, picture

from coprop_plugin.types import Clip, ControlPoints, FrameResult, SegmentationResult


def clip_in_memory(times=(0, 0.5, 1, 1.5), size=(48, 64), sample_rate=16_000, seconds=2):
    frames = np.stack([picture(k, *size) for k in range(len(times))])
    return Clip(
        torch.from_numpy(frames).permute(0, 3, 1, 2),
        torch.from_numpy(chirp(seconds, sample_rate)[0]),
        sample_rate,
        torch.tensor(times).double(),
    )


def frame_result(index, time_s, size=(48, 64), class_id=1, num_classes=1):
    """A square at the bottom right that sounds with 0.8; nothing at all on odd frames."""
    mask = torch.zeros(size, dtype=torch.uint8)
    if index % 2 == 0:
        mask[size[0] // 2 : -4, size[1] // 2 : -4] = class_id
    probs = (mask == class_id).float()[None] * 0.8
    return FrameResult(index, float(time_s), mask, (class_id,), probs, num_classes, index == 0)


def result_of(clip, class_id=1, num_classes=1):
    frames = [
        frame_result(k, time_s, clip.size, class_id, num_classes)
        for k, time_s in enumerate(clip.times)
    ]
    return SegmentationResult(clip, ControlPoints.from_indices([0], len(clip)), frames)


def everything_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
