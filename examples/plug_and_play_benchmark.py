"""Measure whether Co-Prop improves your model, and which part does: clips with true masks, a table.

python examples/plug_and_play_benchmark.py Multi-sources -o bench_out
"""

import argparse
import sys

import torch
from torch import nn

from coprop_plugin.adapters import CallableBackend
from coprop_plugin.benchmark import WorldOptions, WorldSamples
from coprop_plugin.benchmark.datasets import open_folder
from coprop_plugin.benchmark.plug_and_play import plug_and_play


class MyModel(nn.Module):
    """Your model: images [K, 3, H, W] and their log-mels in, logits [K, 1, h, w] out."""

    def forward(self, pictures, log_mels):
        loud = log_mels.mean((1, 2, 3))[:, None, None, None] > -4
        return torch.where(loud, 8 * (pictures[:, :1] - pictures[:, 2:]), -9.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", help="S4, MS3 or AVSS; default: the synthetic world")
    parser.add_argument("-o", "--out", default="bench_out")
    parser.add_argument("--tiny", action="store_true", help="two small synthetic scenes")
    args = parser.parse_args()

    # Clips with their true masks: a dataset of the library, or any list of `Sample`s.
    options = WorldOptions(size=(32, 48), num_frames=3) if args.tiny else WorldOptions()
    clips = open_folder(args.folder) if args.folder else WorldSamples(2, options=options)

    report = plug_and_play(
        {"test": clips},  # several sets give mean and deviation
        {"mine": CallableBackend(MyModel(), audio="log_mel")},  # or a model that `wrap` recognises
        ["bare", "cosine+hold", "novelty+hold", "novelty+flow", "oracle+flow"],
        out=args.out,  # an interrupted run is resumed
        progress=sys.stderr.isatty(),
    )
    print(report)
    bare, wrapped = (report.scores("mine", row)["M_J"] for row in ("bare", "novelty+flow"))
    print(f"M_J {bare:.3f} bare, {wrapped:.3f} with Co-Prop; more in {report.save(args.out)}")


if __name__ == "__main__":
    main()
