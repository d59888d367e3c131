"""Ten minutes of 1080p with `coprop run`: time, CPU, peak memory, and where the time goes.

    python examples/benchmarks/ten_minutes.py --minutes 10 --profile --out ten_minutes.json

The video, H.264 with sound at 25 pictures a second, repeats ten seconds of a camera that pans over
texture. It is segmented with a model that ships and the default propagator, at one frame a second,
with everything that `coprop run` writes: masks, probabilities, an overlay of every picture. Time
and memory are those of the process, sampled every few seconds. --profile runs it under cProfile,
which sees the main thread alone and costs a few per cent. Each run adds a row to --out.
"""

import argparse
import pstats
import tempfile
from pathlib import Path

import av
from _history import add_run, watch, write_textured_video

FPS, PART_S = 25, 10


def write_repeated(part: Path, path: Path, times: int) -> Path:
    """Write a video several times in a row, without encoding it again."""
    with av.open(str(path), "w") as out:
        streams: dict[int, av.stream.Stream] = {}
        last: dict[int, int] = {}
        for number in range(times):
            with av.open(str(part)) as source:
                for stream in source.streams:
                    if stream.index not in streams:
                        streams[stream.index] = out.add_stream_from_template(stream)
                for packet in source.demux():
                    if packet.dts is None:
                        continue
                    shift = round(number * PART_S / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    if packet.dts <= last.get(packet.stream.index, packet.dts - 1):
                        # The audio encoder's priming samples, again.
                        continue
                    last[packet.stream.index] = packet.dts
                    packet.stream = streams[packet.stream.index]
                    out.mux(packet)
    return path


def slowest(profile: Path, count: int = 12) -> list[dict]:
    """Return the functions with the most time of their own."""
    rows = pstats.Stats(str(profile)).stats.items()
    by_time = sorted(rows, key=lambda row: -row[1][2])[:count]
    return [
        dict(function=f"{Path(file).name}:{line} {name}", seconds=round(row[2], 2), calls=row[1])
        for (file, line, name), row in by_time
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--size", default="1920x1080", help="width x height")
    parser.add_argument("--fps", default="1", help="of the masks")
    parser.add_argument("--backend", default="keyframe_processor", help="or sounding_object")
    parser.add_argument("--propagator", default="appearance")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two looks")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON history to add this run to")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory(prefix="ten-minutes-") as folder:
        work = Path(folder)
        # Without B-frames, so that one repetition may follow another.
        part = write_textured_video(work / "part.mp4", PART_S * FPS, FPS, (height, width), bf="0")
        repeats = arguments.minutes * 60 // PART_S
        video = write_repeated(part, work / "video.mp4", repeats)
        command = ["-m", "coprop_plugin.cli", "run", video, "-o", work / "out", "--quiet"]
        command += ["--fps", arguments.fps, "--backend", arguments.backend]
        command += ["--propagator", arguments.propagator]
        if arguments.profile:
            command = ["-m", "cProfile", "-o", work / "profile", *command]
        masks = work / "out" / f".{video.stem}.part" / "masks"
        run = watch(
            command, lambda: len(list(masks.iterdir())) if masks.is_dir() else 0, arguments.every
        )
        row = dict(
            minutes=arguments.minutes,
            size=arguments.size,
            fps=arguments.fps,
            backend=arguments.backend,
            **run,
        )
        if arguments.profile:
            row["slowest"] = slowest(work / "profile")
    add_run(arguments.out, row)


if __name__ == "__main__":
    main()
