"""Accuracy of `novelty` on the control points of the synthetic world.

    python examples/benchmarks/novelty_on_the_world.py --scenes 100

Scenes of 10 s at 8 frames a second; the first frame does not count; matched one to one, in order,
within one frame.
"""

import argparse
import time

import torch

from coprop_plugin import Clip
from coprop_plugin.benchmark.metrics import matched_control_points
from coprop_plugin.control_points import as_provider
from coprop_plugin.world import Scene


def main() -> None:
    """Print precision, recall and F1, and how long a minute of sound takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--first-seed", type=int, default=5000)
    parser.add_argument("--provider", default="novelty")
    args = parser.parse_args()

    provider = as_provider(args.provider)
    found = true = matched = 0
    took_s = 0.0
    for seed in range(args.first_seed, args.first_seed + args.scenes):
        scene = Scene.made_up(seed, size=(8, 8))
        times = torch.arange(80) / 8
        clip = Clip(torch.zeros(80, 3, 8, 8), scene.waveform(), 16_000, times)
        start = time.perf_counter()
        points = provider.propose(clip)
        took_s += time.perf_counter() - start
        truth = scene.control_points(clip)
        pairs, said, wanted = matched_control_points(points, truth, tolerance=1)
        matched, found, true = matched + pairs, found + said, true + wanted
    precision, recall = matched / max(1, found), matched / max(1, true)
    f1 = 2 * matched / max(1, found + true)
    print(f"{args.scenes} scenes: precision {precision:.3f}, recall {recall:.3f}, F1 {f1:.3f}")
    print(f"{took_s / args.scenes * 6:.2f} s for a minute of sound")


if __name__ == "__main__":
    main()
