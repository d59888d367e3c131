"""Speed of the propagator against a plain AOT loop on the same weights.

    OMP_NUM_THREADS=1 python examples/benchmarks/propagation_speed.py --rounds 5 --out speed.json

A case `465:60` is the 60th frame after its keyframe at 465 x 465 pixels, when R50_AOTL remembers 13
frames: the keyframe and each fifth. Weights are random, which does not change the cost. All
implementations run in turn in one process, timed by its CPU time; the best round counts. With
`--upstream PATH`, a checkout of github.com/yoxu515/aot-benchmark, the authors' code is measured
too, with a fast stand-in for its CUDA extension (see `_upstream_aot.py`). FLOPs are counted in the
plain loop (matrix products and convolutions), and compared with the fastest product or convolution
that this machine did between rounds. Peak memory is that of a process of its own, above the loaded
model. Each run adds a row to --out; with --plot the ratios of all its rows are drawn.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from _history import MIB, add_run, new_figure
from _plain_aot import PlainLoop
from _upstream_aot import UpstreamLoop
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from coprop_plugin.propagation import AudioInsertPropagator
from coprop_plugin.propagation.block import sine_position

PLAIN = ("unfold", "dense")


def contestants(limit: int, upstream: Path | None = None) -> list[str]:
    """Name who takes part: plain loops, ours with all of memory, ours with some of it."""
    authors = [] if upstream is None else ["upstream"]
    plain = [f"plain {windows}" for windows in PLAIN]
    return [*plain, *authors, "ours", f"ours, memory of {limit}"]


def ready(
    name: str, size: int | tuple[int, int], frames: int, upstream: Path | None = None
) -> Callable[[], Tensor]:
    """Bring a contestant to a frame; returns its step. All have the same weights."""
    torch.manual_seed(0)
    height, width = (size, size) if isinstance(size, int) else size
    limit = int(name.split("memory of ")[1].split(",")[0]) if "memory of" in name else None
    if upstream is None:
        propagator = AudioInsertPropagator("R50_AOTL", insert_layers=(), max_memory_frames=limit)
    else:
        authors = UpstreamLoop(upstream)
        propagator = authors.ours(max_memory_frames=limit)
    propagator = propagator.eval()
    frame, masks = torch.rand(1, 3, height, width), torch.zeros(1, height, width).long()
    masks[:, height // 4 : height // 2, width // 4 : width // 2] = 1
    writes = frames // propagator.long_term_gap
    if name == "upstream":
        authors.start(frame, masks)
        for _ in range(writes):
            authors.write()
        return lambda: authors.step(frame)
    if name.startswith("plain"):
        loop = PlainLoop(propagator, name.split()[1])
        rows, columns = ((side - 1) // 16 + 1 for side in (height, width))
        loop.start(frame, masks, sine_position(rows, columns, 256).float().to(frame))
        for _ in range(writes):
            loop.write()
        return lambda: loop.step(frame)
    memory = propagator.start(frame, None, masks)
    for _ in range(writes):
        for far, near in zip(memory.long_term, memory.short_term, strict=True):
            far.write(*propagator.network.by_head(*near))
    if "compiled" in name:
        propagator.network.compile()
    return lambda: propagator.step(memory, frame, None)


def seconds(call: Callable[[], object]) -> float:
    """Return the CPU seconds of this process that a call takes."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def machine_gflops() -> float:
    """Return the rate of the best of a matrix product and a convolution, in GFLOP/s."""
    side, x = torch.randn(1024, 1024), torch.randn(1, 256, 59, 59)
    kernel = torch.randn(256, 256, 3, 3)
    x = x.contiguous(memory_format=torch.channels_last)
    product = 2 * 1024**3 / seconds(lambda: side @ side)
    convolution = 2 * 59**2 * 256**2 * 9 / seconds(lambda: F.conv2d(x, kernel, padding=1))
    return max(product, convolution) / 1e9


@torch.no_grad()
def case(size: int, frames: int, limit: int, rounds: int, upstream: Path | None = None) -> dict:
    """Time all contestants in turn."""
    names = contestants(limit, upstream)
    steps = {name: ready(name, size, frames, upstream) for name in names}
    with FlopCounterMode(display=False) as counter:
        logits = {name: step() for name, step in steps.items() if name == "plain unfold"}
    gflop = counter.get_total_flops() / 1e9
    logits |= {name: step() for name, step in steps.items() if name != "plain unfold"}
    same = [name for name in names if "memory" not in name]
    spread = max(float((logits["ours"] - logits[name]).abs().max()) for name in same)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    peak = 0.0
    for _ in range(rounds):
        for name, step in steps.items():
            taken[name].append(seconds(step))
            peak = max(peak, machine_gflops())
    best = {name: min(each) for name, each in taken.items()}
    return dict(
        size=size,
        frames=frames,
        gflop=gflop,
        machine_gflops=peak,
        largest_difference=spread / float(logits["plain unfold"].abs().max()),
        ms={name: 1e3 * s for name, s in best.items()},
        share_of_machine={name: gflop / best[name] / peak for name in same},
        ratio={name: best["plain unfold"] / s for name, s in best.items()},
        ratio_to_dense={name: best["plain dense"] / s for name, s in best.items()},
        ratio_to_upstream={
            name: best["upstream"] / s for name, s in best.items() if "upstream" in best
        },
    )


def _peak_above_model(name: str, size: int, frames: int, upstream: Path | None, answer) -> None:
    torch.set_num_threads(1)
    models = [AudioInsertPropagator("R50_AOTL", insert_layers=())]
    models += [UpstreamLoop(upstream)] if upstream is not None else []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    del models
    with torch.no_grad():
        step = ready(name, size, frames, upstream)
        for _ in range(3):
            step()
    answer.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / MIB)


def peak_mib(name: str, size: int, frames: int, upstream: Path | None = None) -> float:
    """Return the peak memory of a contestant above that of the loaded model, in MiB."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=_peak_above_model, args=(name, size, frames, upstream, answer))
    process.start()
    peak = answer.get()
    process.join()
    return peak


def plot(history: list[dict], path: Path) -> None:
    """Draw how many times faster ours is than the plain loop, run after run."""
    figure, axes = new_figure()
    curves: dict[str, list[tuple[int, float]]] = {}
    for number, row in enumerate(history):
        for each in row["cases"]:
            for name, ratio in each["ratio"].items():
                if name.startswith("ours"):
                    key = f"{each['size']} px, frame {each['frames']}: {name}"
                    curves.setdefault(key, []).append((number, ratio))
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xlabel="run", ylabel="times faster than the plain loop", ylim=(0, None))
    axes.legend(fontsize="small")
    figure.savefig(path, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="225:10,465:60,465:150")
    parser.add_argument("--limit", type=int, default=8, help="frames in the bounded memory")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--upstream", type=Path, help="a checkout of AOT's own code")
    parser.add_argument("--peak", action="store_true", help="measure peak memory, too")
    parser.add_argument("--out", type=Path, help="JSON history to add this run to")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for text in arguments.cases.split(","):
        size, frames = map(int, text.split(":"))
        row = case(size, frames, arguments.limit, arguments.rounds, arguments.upstream)
        if arguments.peak:
            row["peak_mib"] = {
                name: peak_mib(name, size, frames, arguments.upstream) for name in row["ms"]
            }
        rows.append(row)
    history = add_run(arguments.out, dict(cases=rows))
    if arguments.plot is not None:
        plot(history, arguments.plot)


if __name__ == "__main__":
    main()
