"""Recovery from wrong keyframes: M_J with and without corrupted predictions.

    python examples/benchmarks/recovery.py --scenes 60 --fps 4
    python examples/benchmarks/recovery.py --folder CLIPS --fps 1

Test scenes of the synthetic world with the weights that ship; or a folder of clips with true masks
(see `propagation_baseline.py`), whose keyframes are then true. 30 % of the model's predictions
are corrupted: empty, the mask moved by a third of the image, another visible object, or blobs; each
with full confidence. Which frames, and how, depends on the seed and the frame alone. Prints, for
each method, M_J and the alignment rate with and without corruption, the loss of M_J, its share of
the plain method's loss, and how many frames the model was run on per frame of video.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from coprop_plugin import CoProp
from coprop_plugin.benchmark import WorldOptions, WorldSamples
from coprop_plugin.benchmark.datasets import Sample
from coprop_plugin.benchmark.metrics import aligned_frames, frame_ious
from coprop_plugin.benchmark.plug_and_play import SharedKeyframes, TrueKeyframes
from coprop_plugin.control_points import as_provider
from coprop_plugin.keyframes import load_keyframe_processor
from coprop_plugin.media import read_clip
from coprop_plugin.propagation import as_propagator
from coprop_plugin.types import Clip, ControlPoints
from coprop_plugin.world import made_up_scene

METHODS = {
    "plain": {},
    "1 s": dict(reanchor=1.0),
    "uncertain": dict(reanchor="uncertain"),
    "confident": dict(keyframe="confident"),
    "confident+1 s": dict(keyframe="confident", reanchor=1.0),
    "confident+uncertain": dict(keyframe="confident", reanchor="uncertain"),
}
KINDS = ("empty", "shifted", "other", "blobs")
CONFIDENT_LOGIT = 10.0


class CorruptedBackend:
    """A backend for one clip, with some predictions corrupted.

    Args:
        backend: The backend that predicts.
        other: Maps a time to masks `[H, W]` of class ids, one per silent visible object.
        share: Probability that a prediction is corrupted.
        seed: Decides which predictions are corrupted, and how.
    """

    def __init__(self, backend, other: Callable[[float], list[Tensor]], share: float, seed: int):
        self.backend, self.num_classes = backend, backend.num_classes
        self.other, self.share, self.seed = other, share, seed
        self.num_run = 0

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        self.num_run += len(indices)
        rows = self.backend.segment_keyframes(clip, indices)
        times = clip.times[list(indices)].tolist()
        return torch.stack(
            [self._corrupted_logits(*pair) for pair in zip(rows, times, strict=True)]
        )

    def _corrupted_logits(self, logits: Tensor, time_s: float) -> Tensor:
        rng = np.random.default_rng([self.seed, round(time_s * 1000)])
        if rng.random() >= self.share:
            return logits
        mask = (logits[0] > 0).long() if len(logits) == 1 else logits.argmax(0)
        return self._logits(self._corrupted(mask, str(rng.choice(KINDS)), time_s, rng))

    def _corrupted(self, mask: Tensor, kind: str, time_s: float, rng) -> Tensor:
        """Return a wrong mask `[H, W]` in place of the given one."""
        height, width = mask.shape
        if kind == "shifted" and bool(mask.any()):
            down, right = (int(side / 3 * rng.choice([-1, 1])) for side in (height, width))
            return mask.roll((down, right), (0, 1))
        others = self.other(time_s) if kind == "other" else []
        if others:
            return others[int(rng.integers(len(others)))]
        corrupted = torch.zeros_like(mask)
        if kind == "empty":
            return corrupted
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        for _ in range(int(rng.integers(1, 4))):
            cy, cx = rng.random() * height, rng.random() * width
            ry, rx = (float(rng.uniform(0.05, 0.25)) * side for side in (height, width))
            blob = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
            corrupted[blob] = int(rng.integers(1, max(2, self.num_classes)))
        return corrupted

    def _logits(self, mask: Tensor) -> Tensor:
        classes = torch.arange(self.num_classes) if self.num_classes > 1 else torch.ones(1)
        return torch.where(mask[None] == classes[:, None, None], CONFIDENT_LOGIT, -CONFIDENT_LOGIT)


def world(scenes: int, fps: float) -> Iterator[tuple[Sample, SharedKeyframes, Callable]]:
    """Yield test scenes, the model that ships, and their silent objects."""
    sampling = "avsbench" if fps == 1 else "pts"
    options = WorldOptions(num_frames=round(10 * fps), fps=fps, sampling=sampling)
    samples, backend = WorldSamples(scenes, options=options), load_keyframe_processor()
    for number, sample in enumerate(samples):
        scene = made_up_scene(samples.seeds[number], options.size, 10.0)

        def other(time_s: float, scene=scene) -> list[Tensor]:
            silent = set(range(len(scene.objects))) - scene.sounding(time_s)
            masks = [scene.mask(time_s, frozenset([n])) for n in silent]
            return [mask for mask in masks if bool(mask.any())]

        yield sample, SharedKeyframes(backend), other


def folder_of(root: Path, fps: int) -> Iterator[tuple[Sample, TrueKeyframes, Callable]]:
    """Yield the clips of a folder, their true masks as a model, and their silent objects."""
    from PIL import Image

    def read(files: Path, pattern: str) -> list[Tensor]:
        return [
            torch.from_numpy(np.array(Image.open(f))).long() for f in sorted(files.glob(pattern))
        ]

    for row in json.loads((root / "manifest.json").read_text())["clips"]:
        whole, times = read_clip(root / row["file"], fps=None), row[f"time_{fps}fps"]
        nearest = [int((whole.times - time_s).abs().argmin()) for time_s in times]
        clip = Clip(whole.frames[nearest], whole.waveform, whole.sample_rate, whole.times[nearest])
        masks = torch.stack(read(root / "gt" / row["id"] / f"label_{fps}fps", "*.png")) > 0
        objects = read(root / "gt" / row["id"] / "inst_1fps", "*.png")

        def other(time_s: float, objects=objects, masks=masks, times=times) -> list[Tensor]:
            seen = objects[min(int(time_s), len(objects) - 1)]
            sounding = masks[int(np.abs(np.array(times) - time_s).argmin())]
            each = [(seen == n).long() for n in seen.unique().tolist() if n]
            return [mask for mask in each if (mask.bool() & sounding).sum() < mask.sum() / 2]

        known = torch.ones(len(masks), dtype=torch.bool)
        points = ControlPoints(row[f"control_points_{fps}fps"])
        sample = Sample(row["id"], clip, masks.long(), known, 1, control_points=points)
        yield sample, TrueKeyframes(masks.long(), 1), other


def scores_of(masks: Tensor, truth: Tensor) -> tuple[float, float]:
    """Return M_J and the alignment rate of one clip."""
    ious = frame_ious((masks > 0).float(), (truth > 0).long())
    return float(ious.mean()), float(aligned_frames(masks, truth, [0.5]).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--fps", type=float, default=4)
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--points", default="novelty", help="a provider, or oracle")
    parser.add_argument("--propagator", help="by default what wrap takes")
    parser.add_argument("--methods", default=",".join(METHODS))
    options = parser.parse_args()
    names, shares = options.methods.split(","), (0.0, options.share)
    clips = (
        folder_of(options.folder, round(options.fps))
        if options.folder
        else world(options.scenes, options.fps)
    )
    propagator = as_propagator(options.propagator)
    done = []
    try:
        for number, (sample, backend, other) in enumerate(clips):
            points = sample.control_points
            if options.points != "oracle":
                points = as_provider(options.points).propose(sample.clip)
            record = {}
            for name, share in product(names, shares):
                corrupted = CorruptedBackend(backend, other, share, 1000 * options.seed + number)
                model = CoProp(corrupted, points, propagator, **METHODS[name])
                scores = scores_of(model.segment(sample.clip).masks, sample.masks)
                record[name, share] = (*scores, corrupted.num_run / len(sample.masks))
            done.append(record)
            print(f"{sample.id} done", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"{len(done)} clips:", file=sys.stderr)
    print_table(names, [[np.mean([d[n, s] for d in done], axis=0) for s in shares] for n in names])


def print_table(names: Sequence[str], rows: Sequence[Sequence[np.ndarray]]) -> None:
    """Print M_J, the alignment rate and calls a frame of each method, as it is and corrupted."""
    print(f"{'':20} M_J    corrupt  loss   of plain's  AR     corrupt  runs a frame   corrupt")
    for name, (good, bad) in zip(names, rows, strict=True):
        loss, plain_loss = (float(row[0][0] - row[1][0]) for row in ((good, bad), rows[0]))
        relative = loss / plain_loss if plain_loss else float("nan")
        print(
            f"{name:20} {good[0]:.3f}  {bad[0]:.3f}    {loss:.3f}  {relative:6.0%}      "
            f"{good[1]:.3f}  {bad[1]:.3f}    {good[2]:.2f}           {bad[2]:.2f}"
        )


if __name__ == "__main__":
    main()
