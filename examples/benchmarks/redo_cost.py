"""Cost of redoing one segment, at the start and at the end of a long clip.

    python examples/benchmarks/redo_cost.py --minutes 10

Writes a synthetic video, segments it once, deletes one mask at its start, and one at its end, and
redoes each in turn, several times in one process. Prints the ratio of the medians of CPU seconds:
frames are sought, so where the segment lies should not matter.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from coprop_plugin import media, wrap
from coprop_plugin.pipeline import redo

FPS = 4


def write_video(path, seconds, size=(128, 176), rate=12):
    """Write a square that moves over noise, with a tone that changes every ten seconds."""
    rng = np.random.default_rng(0)
    ground = rng.integers(40, 90, (*size, 3), dtype=np.uint8)
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=rate)
        video.height, video.width = size
        audio = out.add_stream("aac", rate=16_000, layout="mono")
        for k in range(seconds * rate):
            picture = ground.copy()
            picture[30:70, k % 100 : k % 100 + 40] = 220
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, rate)
            out.mux(video.encode(frame))
            if k % rate == 0:
                second = k // rate
                tone = np.sin(
                    2 * np.pi * (300 + 200 * (second // 10 % 3)) * np.arange(16_000) / 16_000
                )
                sound = av.AudioFrame.from_ndarray(
                    0.3 * tone[None].astype(np.float32), format="fltp", layout="mono"
                )
                sound.pts, sound.rate = second * 16_000, 16_000
                out.mux(audio.encode(sound))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
    return path


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    bright = lambda frames, audio: frames[:, :1] * 20 - 12  # noqa: E731
    with tempfile.TemporaryDirectory() as folder:
        video = write_video(Path(folder) / "long.mp4", round(options.minutes * 60))
        # A control point every ten seconds, whatever the audio says.
        points = dict(type="every_n", n=10 * FPS)
        model = wrap(bright, backend="callable", control_points=points, propagator="hold")
        run = Path(folder) / "run"
        info = media.probe(video, FPS)
        with media.ResultWriter(run, source=video, overlay=False) as writer:
            frames = model.stream(
                video, fps=FPS, hook=lambda step, artifact, *_: _points(writer, step, artifact)
            )
            for frame in frames:
                writer.write(frame)
        seconds = {"first": [], "last": []}
        for _ in range(options.repeats):
            for name, frame in (("first", 0), ("last", len(info.times) - 10)):
                edited = shutil.copytree(run, Path(folder) / "edited", dirs_exist_ok=True)
                (edited / "masks" / f"{frame:05d}.png").unlink()
                began = time.process_time()
                redo(model, video, edited, Path(folder) / "new", fps=FPS, overlay=False)
                seconds[name].append(time.process_time() - began)
                shutil.rmtree(Path(folder) / "new")
        first, last = (statistics.median(seconds[name]) for name in ("first", "last"))
        print(f"{len(info.times)} frames: last segment / first segment = {last / first:.2f}")


def _points(writer, step, artifact):
    if step == "control_points":
        writer.write_points(artifact)


if __name__ == "__main__":
    main()
