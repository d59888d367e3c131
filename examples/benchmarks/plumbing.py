"""What the library costs around the model: decoding, `hold`, masks, probabilities, the overlay.

    OMP_NUM_THREADS=1 python examples/benchmarks/plumbing.py --rounds 3 --peak --out plumbing.json

A synthetic H.264 video with sound is segmented at its own frame rate by a model that costs nothing
(a fixed region, once every ten seconds) and `hold`. Each stage runs alone, and then a whole run as
`coprop run` does it; all are measured in wall-clock and CPU time of the process (all its threads),
per frame. The best of several rounds counts. --peak also measures the peak memory of a whole run in
a process of its own. --profile prints where the whole run spends its time. Each run adds a row to
--out.
"""

import argparse
import cProfile
import multiprocessing
import pstats
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from _history import add_run, write_textured_video
from torch import Tensor

from coprop_plugin import CoProp, media, wrap
from coprop_plugin.batch import Job, Options, do_job
from coprop_plugin.types import FrameResult

FPS = 30


def fixed_region(frames: Tensor, audio: Tensor) -> Tensor:
    """Return logits of an ellipse in the middle, whose edge is soft: a model without cost."""
    height, width = frames.shape[-2:]
    y = torch.linspace(-2, 2, height)[:, None]
    x = torch.linspace(-2, 2, width)
    return (4 * (1 - x**2 - y**2)).clamp(-6, 6).expand(len(frames), 1, height, width)


def free_model() -> CoProp:
    """Wrap the model without cost."""
    points = dict(type="every_n", n=10 * FPS)
    options = dict(control_points=points, propagator="hold", reanchor=None)
    return wrap(fixed_region, backend="callable", **options)


def decode(video: Path) -> None:
    """Decode and convert every picture."""
    for _ in media.open_video(video, fps=None):
        pass


def segment(video: Path) -> None:
    """Segment every frame and write nothing: probing, decoding, `hold`, results."""
    for _ in free_model().stream(video, fps=None):
        pass


def some_results(video: Path) -> list[FrameResult]:
    """Return a second of results, to be written again and again."""
    frames = free_model().stream(video, fps=None)
    return [next(frames) for _ in range(FPS)]


def write_results(results: Sequence[FrameResult], folder: Path, frames: int) -> None:
    """Write masks and probabilities, without an overlay."""
    with media.ResultWriter(folder, overlay=False) as writer:
        for index in range(frames):
            writer.write(replace(results[index % len(results)], index=index, time_s=index / FPS))


def overlay(video: Path, results: Sequence[FrameResult], path: Path, frames: int) -> None:
    """Write the overlay of a video alone."""
    masks = [frame.mask.numpy() for frame in results]
    starts = torch.arange(frames, dtype=torch.float64) / FPS
    spans = torch.stack([starts, starts + 1 / FPS], dim=1)
    media.write_overlay(path, lambda t: masks[t % len(masks)], spans, source=video)


def whole_run(video: Path, folder: Path) -> None:
    """Do all of it, as `coprop run --fps source` does."""
    outcome = do_job(free_model(), Job(video, folder), Options(fps=None, redo=True))
    assert outcome.status == "done", outcome.error


def measured(stage: Callable[[], None], frames: int) -> dict[str, float]:
    """Return the milliseconds a frame that a stage takes, by the wall clock and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    stage()
    taken = time.perf_counter() - wall, time.process_time() - cpu
    return {
        name: round(1e3 * s / frames, 2) for name, s in zip(("wall", "cpu"), taken, strict=True)
    }


def _peak(video: Path, folder: Path, threads: int, answer) -> None:
    torch.set_num_threads(threads)
    whole_run(video, folder)
    answer.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def peak_mib(video: Path, folder: Path, threads: int) -> float:
    """Return the peak memory of a whole run in a process of its own, in MiB."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=_peak, args=(video, folder, threads, answer))
    process.start()
    peak = answer.get()
    process.join()
    return round(peak, 1)


def profile(video: Path, folder: Path) -> None:
    """Print where a whole run spends its time, by function."""
    profiler = cProfile.Profile()
    profiler.runcall(whole_run, video, folder)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=960)
    parser.add_argument("--size", default="640x360", help="width x height")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch and of the decoder")
    parser.add_argument("--peak", action="store_true", help="measure peak memory, too")
    parser.add_argument("--profile", action="store_true", help="profile the whole run instead")
    parser.add_argument("--out", type=Path, help="JSON history to add this run to")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    width, height = map(int, arguments.size.split("x"))
    frames = arguments.frames
    with tempfile.TemporaryDirectory(prefix="plumbing-") as folder:
        work = Path(folder)
        video = write_textured_video(work / "video.mp4", frames, FPS, (height, width))
        if arguments.profile:
            profile(video, work / "whole")
            return
        results = some_results(video)
        stages: dict[str, Callable[[], None]] = {
            "decode": lambda: decode(video),
            "decode + hold": lambda: segment(video),
            "masks + probs": lambda: write_results(results, work / "results", frames),
            "overlay": lambda: overlay(video, results, work / "overlay.mp4", frames),
            "whole run": lambda: whole_run(video, work / "whole"),
        }
        rounds = [
            {name: measured(stage, frames) for name, stage in stages.items()}
            for _ in range(arguments.rounds)
        ]
        row = dict(
            frames=frames,
            size=arguments.size,
            threads=arguments.threads,
            ms_a_frame={
                name: {clock: min(r[name][clock] for r in rounds) for clock in ("wall", "cpu")}
                for name in stages
            },
        )
        if arguments.peak:
            row["peak_mib"] = peak_mib(video, work / "whole", arguments.threads)
    add_run(arguments.out, row)


if __name__ == "__main__":
    main()
