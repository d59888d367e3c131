"""Pictures of the clips that a model segments worst."""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image
from torch import Tensor

from coprop_plugin import media
from coprop_plugin.benchmark.plug_and_play.bench_report import Report
from coprop_plugin.report.images import jpeg_uri
from coprop_plugin.types import Clip, FrameResult

ScoredClip = tuple[float, str, int]
"""The M_J of a clip, its set and its index in it."""

_COLUMNS = 5
_HEIGHT = 64
_GAP = 3


def with_worst(
    report: Report,
    places: Mapping[tuple[str, str], Sequence[ScoredClip]],
    number: int,
    picture: Callable[[tuple[str, str], str, int], str],
    ids: Mapping[str, Sequence[str]],
) -> Report:
    """Return a report with the worst clips of each backend and row.

    Args:
        report: The report.
        places: By backend and row: the clips and their scores.
        number: How many of each.
        picture: Returns the picture of a clip: backend and row, set, index.
        ids: Names of the clips of each set.
    """
    if number < 1:
        return report
    results = []
    for result in report.results:
        cell = result["backend"], result["row"]
        if result["part"] == "all":
            worst = heapq.nsmallest(number, places[cell])
            clips = [
                {
                    "set": name,
                    "clip": ids[name][index],
                    "M_J": score,
                    "picture": picture(cell, name, index),
                }
                for score, name, index in worst
            ]
            result = {**result, "worst": clips}
        results.append(result)
    return replace(report, results=results)


def worst_picture(clip: Clip, results: Iterable[FrameResult], truth: Tensor) -> str:
    """Return a JPEG in a data URI: a few frames with the predicted masks, below the true ones.

    Args:
        clip: The clip.
        results: The prediction of each frame, in order.
        truth: `[T, H, W]`, the true masks.
    """
    number = clip.num_frames
    shown = np.unique(np.linspace(0, number - 1, min(number, _COLUMNS)).round().astype(int))
    masks = {frame.index: frame.mask for frame in results if frame.index in shown}
    height, width = clip.size
    size = max(1, round(_HEIGHT * width / height)), _HEIGHT
    strip = Image.new(
        "RGB", (len(shown) * (size[0] + _GAP) - _GAP, 2 * _HEIGHT + _GAP), (255, 255, 255)
    )
    for column, t in enumerate(shown.tolist()):
        frame = (clip.rgb([t])[0].permute(1, 2, 0) * 255).round().byte().numpy()
        for row, mask in enumerate((masks[t], truth[t])):
            painted = Image.fromarray(media.paint(frame, mask.numpy())).resize(size)
            strip.paste(painted, (column * (size[0] + _GAP), row * (_HEIGHT + _GAP)))
    return jpeg_uri(strip, quality=60)
