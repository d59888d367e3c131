"""Peak memory of the propagator along one segment of any length.

    OMP_NUM_THREADS=1 python examples/benchmarks/memory_along_frames.py --frames 2000

R50_AOTL with random weights, or a propagator from a file, propagates one object through one segment
with its default memory, or another. Peak RSS above the loaded model is recorded every `--every`
frames; the result is its growth from frame 200 to the last. Each run adds a row to --out; --plot
draws all of them.
"""

import argparse
import resource
from pathlib import Path

import torch
from _history import add_run, new_figure

from coprop_plugin.propagation import AudioInsertPropagator, as_propagator

MIB = 2**20


def peak_mib() -> float:
    """Return the largest resident set of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB


@torch.no_grad()
def along(propagator: AudioInsertPropagator, size: int, frames: int, every: int) -> dict:
    """Carry an object through a segment; returns the peak above the model at frames."""
    before, peaks = peak_mib(), {}
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(4, 1, 3, size, size, generator=generator)
    masks = torch.zeros(1, size, size).long()
    masks[:, size // 4 : size // 2, size // 4 : size // 2] = 1
    memory = propagator.start(pictures[0], None, masks)
    for t in range(1, frames + 1):
        propagator.step(memory, pictures[t % 4], None)
        if t % every == 0 or t == frames:
            peaks[t] = peak_mib() - before
            print(f"frame {t:6}: {peaks[t]:8.2f} MiB above the model", flush=True)
    return peaks


def plot(history: list[dict], path: Path) -> None:
    """Draw memory against frames, a line a run."""
    figure, axes = new_figure()
    for row in history:
        limit = row["limit"]
        label = "all of memory" if limit is None else f"{limit} frames, {row['policy']}"
        axes.plot(*zip(*row["peak_mib"], strict=True), label=label)
    axes.set(xlabel="frame", ylabel="MiB above the loaded model", ylim=(0, None))
    axes.legend()
    figure.savefig(path, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="a propagator's; else R50_AOTL, random")
    parser.add_argument("--size", type=int, default=225)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--limit", type=int, help="frames in long-term memory; 0 for no limit")
    parser.add_argument("--policy", help="of the full memory; by default the default")
    parser.add_argument("--out", type=Path, help="JSON history to add this run to")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.weights is None:
        propagator = AudioInsertPropagator("R50_AOTL", insert_layers=()).eval()
    else:
        propagator = as_propagator(arguments.weights)
    if arguments.limit is not None:
        propagator.max_memory_frames = arguments.limit or None
    propagator.memory_policy = arguments.policy or propagator.memory_policy
    peaks = along(propagator, arguments.size, arguments.frames, arguments.every)
    if 200 in peaks:
        growth = peaks[arguments.frames] - peaks[200]
        print(f"from frame 200 to {arguments.frames}: {growth:.2f} MiB more")
    row = dict(
        size=arguments.size,
        limit=propagator.max_memory_frames,
        policy=propagator.memory_policy,
        peak_mib=[(frame, round(mib, 2)) for frame, mib in peaks.items()],
    )
    history = add_run(arguments.out, row)
    if arguments.plot is not None:
        plot(history, arguments.plot)


if __name__ == "__main__":
    main()
