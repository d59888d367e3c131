r"""Propagation of true keyframe masks, with true control points or those of providers.

    python examples/benchmarks/propagation_baseline.py FOLDER --propagators hold,flow \
        --control-points truth,novelty

FOLDER holds `manifest.json` (a list `clips`, each with `id`, `file`, and for 1 and 8 frames a
second `time_1fps` and `control_points_1fps`) and `gt/<id>/mask_1fps/%05d.png`,
`gt/<id>/label_8fps/%05d.png`. Scored as AVSBench scores M_J: mean over all frames of intersection
over union; where the truth is empty, the share of pixels that the prediction leaves empty.
A propagator is a registered name, the path of a file with weights, or a preset of
AudioInsertPropagator, which is then run with random weights (seed 0). Control points are "truth"
or the name of a provider.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from coprop_plugin.control_points import as_provider
from coprop_plugin.media import read_clip
from coprop_plugin.propagation import AudioInsertPropagator, as_propagator
from coprop_plugin.propagation.presets import PRESETS
from coprop_plugin.types import Clip, ControlPoints


def truth(folder: Path, row: dict, fps: int) -> torch.Tensor:
    """Read `[T, H, W]` bool: what sounds."""
    kind = "mask" if fps == 1 else "label"
    files = sorted((folder / "gt" / row["id"] / f"{kind}_{fps}fps").glob("*.png"))
    return torch.stack([torch.from_numpy(np.array(Image.open(file)) > 0) for file in files])


def clip_at(whole: Clip, times: list[float], fps: int) -> Clip:
    """Take the frames nearest to the given times; at 1 fps each stands for its second."""
    times = torch.tensor(times, dtype=torch.float64)
    nearest = (whole.times[None] - times[:, None]).abs().argmin(1)
    if fps == 1:
        return Clip(whole.frames[nearest], whole.waveform, whole.sample_rate, sampling="avsbench")
    return Clip(whole.frames[nearest], whole.waveform, whole.sample_rate, whole.times[nearest])


@torch.no_grad()
def propagated(propagator, clip: Clip, masks: torch.Tensor, points: ControlPoints) -> torch.Tensor:
    """Propagate the true masks of keyframes; returns `[T, H, W]` bool."""
    sound = propagator.hear(clip)
    found = torch.zeros_like(masks)
    for segment in points.segments:
        found[segment.start] = masks[segment.start]
        if not masks[segment.start].any():
            continue
        rows = [(clip.rgb([t]), None if sound is None else sound[t : t + 1]) for t in segment]
        memory = propagator.start(*rows[0], masks[segment.start][None].long())
        for t, row in zip(segment[1:], rows[1:], strict=True):
            found[t] = propagator.step(memory, *row).argmax(1)[0].bool()
    return found


def frame_iou(found: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """AVSBench's IoU of every frame, `[T]`."""
    shared, either = (found & masks).sum((1, 2)), (found | masks).sum((1, 2))
    left_empty = 1 - found.float().mean((1, 2))
    return torch.where(masks.any(2).any(1), shared / either.clamp(1), left_empty)


def build(name: str):
    if name not in PRESETS:
        return as_propagator(name)
    torch.manual_seed(0)
    return AudioInsertPropagator(name).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--propagators", default="hold,flow")
    parser.add_argument("--control-points", default="truth")
    parser.add_argument("--fps", type=int, nargs="+", default=[1, 8])
    arguments = parser.parse_args()
    rows = json.loads((arguments.folder / "manifest.json").read_text())["clips"]
    wholes = {row["id"]: read_clip(arguments.folder / row["file"], fps=None) for row in rows}
    for name, source, fps in product(
        arguments.propagators.split(","), arguments.control_points.split(","), arguments.fps
    ):
        propagator = build(name)
        begin, scores = time.perf_counter(), {}
        for row in rows:
            clip = clip_at(wholes[row["id"]], row[f"time_{fps}fps"], fps)
            masks = truth(arguments.folder, row, fps)
            points = ControlPoints(row[f"control_points_{fps}fps"])
            if source != "truth":
                points = as_provider(source).propose(clip)
            scores[row["id"]] = frame_iou(propagated(propagator, clip, masks, points), masks)
        frames = torch.cat(list(scores.values()))
        each = " ".join(f"{clip}={score.mean():.3f}" for clip, score in scores.items())
        spent = time.perf_counter() - begin
        print(f"{name:10} {source:15} {fps} fps  M_J {frames.mean():.3f}  {each}  {spent:.0f} s")


if __name__ == "__main__":
    main()
