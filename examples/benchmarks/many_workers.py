"""Throughput on many short clips: one worker, several, and Ray actors, with equal results.

    OMP_NUM_THREADS=1 python examples/benchmarks/many_workers.py --clips 200 --out workers.json

Synthetic clips are segmented by `coprop run` with a keyframe processor, that of the library, and
optical flow, one thread a worker: by one worker and by several, --rounds times in turn, and, with
--ray, by as many actors of Ray. The ratio is the median of all rounds'. The ratio is meaningful on
an idle machine only: the row records how many processes were runnable. Loading of models is
excluded: seconds are those from the first result to the last. Each run adds a row to --out; --plot
draws the ratios of all rows.
"""

import argparse
import datetime
import json
import os
import shutil
import statistics
import tempfile
from pathlib import Path

from _history import add_run, new_figure, watch, write_video
from one_hour import hashes


def segment(videos: Path, out: Path, workers: int, fps: int, engine: str = "processes") -> dict:
    """Run `coprop run`; returns its seconds and the hashes of its results."""
    command = ["-m", "coprop_plugin.cli", "run", videos, "-o", out, "--fps", fps, "--quiet"]
    command += ["--backend", "keyframe_processor", "--propagator", "flow", "--threads", 1]
    command += ["--reanchor", "never"]
    command += ["--workers", workers, "--engine", engine]
    watched = watch(command, lambda: 0, every_s=0.2)
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    ends = sorted(datetime.datetime.fromisoformat(line["time"]) for line in lines)
    (out / "manifest.jsonl").unlink()
    # Each worker's first clip waits for its model.
    steady_s = (ends[-1] - ends[workers - 1]).total_seconds()
    return dict(
        exit_code=watched["exit_code"],
        seconds=watched["seconds"],
        cpu_s=watched["cpu_s"],
        clips_a_second=round((len(lines) - workers) / max(steady_s, 1.0), 3),
        hashes=hashes(out),
    )


def plot(history: list[dict], path: Path) -> None:
    """Draw how many times the clips of one worker several did, run after run."""
    figure, axes = new_figure()
    axes.plot([row["ratio"] for row in history], marker="o")
    axes.set(xlabel="run", ylabel="clips a second, several workers / one", ylim=(0, None))
    figure.savefig(path, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--fps", type=int, default=8)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON history to add this run to")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    runs: dict[str, list[dict]] = {}
    kinds = {"one": (1, "processes"), "several": (arguments.workers, "processes")}
    if arguments.ray:
        kinds["ray"] = (arguments.workers, "ray")
    with tempfile.TemporaryDirectory(prefix="many-workers-") as folder:
        videos = Path(folder) / "videos"
        videos.mkdir()
        for seed in range(arguments.clips):
            name = f"clip{seed:03d}.mp4"
            write_video(videos / name, arguments.seconds, arguments.fps, arguments.size, seed)
        for _ in range(arguments.rounds):
            for name, (workers, engine) in kinds.items():
                out = Path(folder) / name
                runs.setdefault(name, []).append(
                    segment(videos, out, workers, arguments.fps, engine)
                )
                shutil.rmtree(out)
    files = [run.pop("hashes") for each in runs.values() for run in each]
    rates = {name: [run["clips_a_second"] for run in each] for name, each in runs.items()}
    ratios = [several / one for several, one in zip(rates["several"], rates["one"], strict=True)]
    row = dict(
        clips=arguments.clips,
        workers=arguments.workers,
        cores=os.cpu_count(),
        load=os.getloadavg()[1],
        files=len(files[0]),
        identical=all(each == files[0] for each in files),
        differing=sorted({n for each in files for n, _ in each.items() ^ files[0].items()})[:20],
        ratio=round(statistics.median(ratios), 3),
        ratios=[round(ratio, 3) for ratio in ratios],
        runs=runs,
    )
    history = add_run(arguments.out, row)
    if arguments.plot is not None:
        plot(history, arguments.plot)


if __name__ == "__main__":
    main()
