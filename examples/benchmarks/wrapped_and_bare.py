"""Time and memory of a model in Co-Prop against the model alone, on clips of some lengths.

    OMP_NUM_THREADS=1 python examples/benchmarks/wrapped_and_bare.py --out wrapped.json

The models are TPAVI (with each keyframe among five frames, as it was trained, and by itself) and
AVSegFormer, both with ResNet-50, random weights and 224 x 224 pixels. Alone, a model is called as
its authors do, with five frames at a time, and its masks are kept. In Co-Prop it is run at
--points control points, spread evenly, and the propagator propagates the masks. Both get audio as
VGGish embeddings or log-mels. Both run in turn in one process; times are its own
CPU seconds, the best round; memory is the peak above the loaded model, the worst round (Linux).
`streamed` reads the same frames from a video file and forgets each. Each run adds a row to --out;
--plot draws the last one.
"""

import argparse
import ctypes
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from _history import add_run, new_figure, write_video

from coprop_plugin import Clip, wrap
from coprop_plugin.adapters.avsegformer import AVSegFormer, AVSegFormerBackend
from coprop_plugin.adapters.tpavi import TPAVI, TPAVIBackend
from coprop_plugin.benchmark.plug_and_play import measured
from coprop_plugin.types import ControlPoints, avsbench_times

SIDE, CLIP = 224, 5


def backends() -> dict[str, Callable[[], torch.nn.Module]]:
    """Return how each model is made."""
    # In a clip, embeddings are given; of a video, these 128 numbers do as well as VGGish's.
    embed = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d((16, 8)), torch.nn.Flatten())
    return {
        "tpavi": lambda: TPAVIBackend(TPAVI().eval(), vggish=embed),
        "tpavi, frame": lambda: TPAVIBackend(TPAVI().eval(), vggish=embed, context="frame"),
        "avsegformer": lambda: AVSegFormerBackend(AVSegFormer(input_size=SIDE).eval()),
    }


def made_up(length: int) -> Clip:
    """Return a clip of noise that moves, with its sound in both forms."""
    wide = torch.rand(3, SIDE, SIDE + 4 * length)
    return Clip(
        torch.stack([wide[..., 4 * t : 4 * t + SIDE] for t in range(length)]),
        times=avsbench_times(length),
        log_mel=torch.rand(length, 1, 96, 64) * 4 - 4,
        audio_embedding=torch.rand(length, 128) * 2,
    )


@torch.no_grad()
def alone(backend: torch.nn.Module, clip: Clip) -> list[torch.Tensor]:
    """Call the model itself; return its masks."""
    masks = []
    for first in range(0, clip.num_frames, CLIP):
        part = clip[first : first + CLIP]
        if isinstance(backend, TPAVIBackend):
            logits = backend.model(part.rgb(), part.audio_embedding)[0]
        else:
            logits = backend.model(part.log_mel, part.rgb())[0]
        masks.append(logits > 0)
    return masks


def spread(length: int, count: int) -> ControlPoints:
    """Return control points at even distances."""
    frames = sorted({length * k // count for k in range(count)})
    return ControlPoints.from_indices(frames, length)


def above(work: Callable[[], object]) -> tuple[float, float]:
    """Return the CPU seconds of some work, and its peak of memory above what was there, in MiB."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    _, before = measured(lambda: None)
    _, cost = measured(work)
    return cost.cpu_seconds, cost.peak_mb - before.peak_mb


def case(name: str, length: int, count: int, rounds: int, propagator: str | None) -> dict:
    """Measure one model on clips of one length."""
    torch.manual_seed(0)
    backend, clip, points = backends()[name](), made_up(length), spread(length, count)
    model = wrap(backend, control_points=points, propagator=propagator, reanchor=None)
    work = {"bare": lambda: alone(backend, clip), "wrapped": lambda: model.segment(clip)}
    found: dict[str, list[tuple[float, float]]] = {who: [] for who in work}
    for do in work.values() if rounds > 1 else ():
        do()
    for _ in range(rounds):
        for who, do in work.items():
            found[who].append(above(do))
    cpu_s = {who: min(seconds for seconds, _ in each) for who, each in found.items()}
    peak = {who: max(mib for _, mib in each) for who, each in found.items()}
    return dict(
        model=name,
        frames=length,
        control_points=len(points),
        cpu_s={who: round(s, 3) for who, s in cpu_s.items()},
        ratio=round(cpu_s["wrapped"] / cpu_s["bare"], 3),
        peak_mib={who: round(mib, 1) for who, mib in peak.items()},
    )


def streamed(name: str, length: int, count: int, propagator: str | None) -> dict:
    """Measure memory while a video is read."""
    torch.manual_seed(0)
    points = spread(length, count)
    options = dict(control_points=points, propagator=propagator, reanchor=None)
    model = wrap(backends()[name](), **options)
    with tempfile.TemporaryDirectory() as folder:
        video = write_video(Path(folder) / "video.mp4", length, 1, SIDE)
        seconds, mib = above(lambda: sum(1 for _ in model.stream(video)))
    return dict(streamed_cpu_s=round(seconds, 3), streamed_peak_mib=round(mib, 1))


def plot(rows: list[dict], path: Path) -> None:
    """Draw how long the wrapped model takes, with the bare one as 1."""
    figure, axes = new_figure()
    for name in backends():
        points = [(row["frames"], row["ratio"]) for row in rows if row["model"] == name]
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.axhline(1, color="grey", linewidth=1)
    axes.set(xlabel="frames", ylabel="time in Co-Prop / alone", xscale="log", ylim=(0, None))
    axes.legend()
    figure.savefig(path, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(backends()), choices=list(backends()))
    parser.add_argument("--lengths", type=int, nargs="+", default=[5, 10, 50, 200])
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--propagator", help="a name or a file; by default the library's own")
    parser.add_argument("--streamed", action="store_true", help="measure `stream`, too")
    parser.add_argument("--out", type=Path, help="JSON history to add this run to")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    rows, propagator = [], arguments.propagator
    for name in arguments.models:
        for length in arguments.lengths:
            row = case(name, length, arguments.points, arguments.rounds, propagator)
            if arguments.streamed:
                row |= streamed(name, length, arguments.points, propagator)
            rows.append(row)
            print(row, flush=True)
    add_run(arguments.out, dict(propagator=propagator, threads=torch.get_num_threads(), cases=rows))
    if arguments.plot is not None:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
