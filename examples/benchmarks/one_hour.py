"""An hour of video with `coprop run`: memory over time, and equality after a resumed run.

    OMP_NUM_THREADS=1 python examples/benchmarks/one_hour.py --minutes 60 --out hour.json

A synthetic video of 64 x 64 pixels at 8 frames a second is segmented twice by the shipped keyframe
processor and optical flow: once from beginning to end, once killed (SIGKILL) in the middle and
resumed. Every file of the two results must be the same, byte for
byte. Memory is that of the process, sampled every few seconds; its growth is counted from
the first tenth of the frames to the last one. (Before the first frame, while control points are
found, it may be more: `peak_mib`.) Each run adds a row to --out; --plot draws memory.
"""

import argparse
import hashlib
import json
import tempfile
from pathlib import Path

from _history import add_run, new_figure, watch, write_video


def hashes(folder: Path) -> dict[str, str]:
    """Return a hash of each file of a result."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def segment(
    video: Path, out: Path, fps: int, every_s: float, kill_at: float = float("inf")
) -> dict:
    """Run `coprop run` and watch it."""
    command = ["-m", "coprop_plugin.cli", "run", video, "-o", out, "--fps", fps, "--threads", 1]
    command += [
        "--backend",
        "keyframe_processor",
        "--propagator",
        "flow",
        "--reanchor",
        "never",
        "--quiet",
    ]
    masks = out / f".{video.stem}.part" / "masks"

    def frames() -> int:
        return len(list(masks.iterdir())) if masks.is_dir() else 0

    return watch(command, frames, every_s, kill_at)


def growth_mib(curve: list[tuple[int, float]], frames: int) -> float:
    """Return by how much memory in the last nine tenths of the frames exceeds that in the first."""
    early = [memory for done, memory in curve if 0 < done <= frames / 10]
    late = [memory for done, memory in curve if done > frames / 10]
    return round(max(late) - max(early), 1)


def plot(history: list[dict], path: Path) -> None:
    """Draw the memory of the last run against the frames that were done."""
    figure, axes = new_figure()
    for name in ("whole", "killed", "resumed"):
        axes.plot(*zip(*history[-1][name]["curve"], strict=True), label=name)
    axes.set(xlabel="frames done", ylabel="memory of the process in MiB", ylim=(0, None))
    axes.legend()
    figure.savefig(path, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--fps", type=int, default=8)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two looks")
    parser.add_argument("--out", type=Path, help="JSON history to add this run to")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    frames = arguments.minutes * 60 * arguments.fps
    how = dict(fps=arguments.fps, every_s=arguments.every)
    with tempfile.TemporaryDirectory(prefix="one-hour-") as folder:
        work = Path(folder)
        video = work / "hour.mp4"
        write_video(video, arguments.minutes * 60, arguments.fps, arguments.size)
        killed = segment(video, work / "again", **how, kill_at=frames / 2)
        resumed = segment(video, work / "again", **how)
        whole = segment(video, work / "whole", **how)
        results = [work / name / video.stem for name in ("whole", "again")]
        files = [hashes(result) for result in results]
        points = json.loads((results[0] / "control_points.json").read_text())
    row = dict(
        minutes=arguments.minutes,
        frames=points["num_frames"],
        size=arguments.size,
        control_points=len(points["indices"]),
        files=len(files[0]),
        identical=files[0] == files[1],
        killed_at=killed["curve"][-1][0],
        growth_mib=growth_mib(whole["curve"], frames),
        whole=whole,
        killed=killed,
        resumed=resumed,
    )
    history = add_run(arguments.out, row)
    if arguments.plot is not None:
        plot(history, arguments.plot)


if __name__ == "__main__":
    main()
