"""Shared by the benchmarks: a JSON history, synthetic videos, monitoring of a process."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

MIB = 2**20
RATE = 16_000


def add_run(path: Path | None, row: dict) -> list[dict]:
    """Print a run, add it to a history, and return all of that."""
    run = dict(torch=torch.__version__, machine=platform.machine(), **row)
    print(json.dumps(run, indent=1), flush=True)
    history = [run]
    if path is not None:
        if path.is_file():
            history = [*json.loads(path.read_text()), run]
        path.write_text(json.dumps(history, indent=1) + "\n")
    return history


def new_figure():
    """Return matplotlib's figure and axes, drawn to a file without a screen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(7, 4))


def write_video(path: Path, seconds: int, fps: int, size: int, seed: int = 0) -> Path:
    """Write a synthetic video: a moving square, and a sound that changes every few seconds."""
    random = np.random.default_rng(seed)
    tones, until = (0.0, 0.0), 0
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=fps)
        video.width = video.height = size
        sound = out.add_stream("aac", rate=RATE, layout="mono")
        for second in range(seconds):
            if second >= until:
                # A pause, or a new chord; both colour and place of the square are its own.
                tones = (0.0, 0.0) if random.random() < 0.2 else tuple(random.uniform(200, 3000, 2))
                until = second + int(random.integers(4, 16))
            for frame in range(fps):
                out.mux(video.encode(_picture(second * fps + frame, fps, size, tones)))
            out.mux(sound.encode(_chord(second, tones)))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))
    return path


def write_textured_video(
    path: Path, frames: int, fps: int, size: tuple[int, int], seed: int = 0, **options: str
) -> Path:
    """Write an H.264 video of a camera that pans over texture, with a tone: as hard as a real one.

    Args:
        path: Where to write.
        frames: How many.
        fps: Frames a second.
        size: Height and width.
        seed: Of the texture.
        **options: Further ones of the encoder.
    """
    height, width = size
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 240, (height // 24 + 1, width // 24 + 1, 3), np.uint8)
    plain = np.repeat(np.repeat(coarse, 24, 0), 24, 1)[:height, :width]
    picture = plain + random.integers(0, 16, (height, width, 3), np.uint8)
    with av.open(str(path), "w") as out:
        options = {"preset": "veryfast", "crf": "23", **options}
        video = out.add_stream("libx264", rate=fps, options=options)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        sound = out.add_stream("aac", rate=RATE, layout="mono")
        for index in range(frames):
            moved = np.roll(picture, (index // 2, index), (0, 1))
            frame = av.VideoFrame.from_ndarray(moved, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            out.mux(video.encode(frame))
            if index % fps == 0:
                out.mux(sound.encode(_chord(index // fps, (440.0, 660.0))))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))
    return path


def _picture(index: int, fps: int, size: int, tones: tuple[float, float]) -> av.VideoFrame:
    rows, columns = np.mgrid[:size, :size] * 255 // size
    picture = np.stack([rows, columns, 255 - rows], axis=2).astype(np.uint8) // 2
    side, angle = size // 4, 2 * np.pi * index / (9 * fps)
    top, left = ((size - side) * (0.5 + 0.5 * np.array([np.sin(angle), np.cos(angle)]))).astype(int)
    picture[top : top + side, left : left + side] = (255, tones[0] / 12, tones[1] / 12)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    frame.pts, frame.time_base = index, Fraction(1, fps)
    return frame


def _chord(second: int, tones: tuple[float, float]) -> av.AudioFrame:
    times = second + np.arange(RATE) / RATE
    loud = 0.25 if any(tones) else 0.0
    waves = sum(np.sin(2 * np.pi * hertz * k * times) / k for hertz in tones for k in (1, 2, 3))
    frame = av.AudioFrame.from_ndarray(
        (loud * waves)[None].astype(np.float32), format="fltp", layout="mono"
    )
    frame.pts, frame.rate = second * RATE, RATE
    return frame


def watch(
    command: Sequence[str | Path], done: Callable[[], int], every_s: float, kill_at: float = np.inf
) -> dict:
    """Run a command and look at it from time to time.

    Args:
        command: What follows `python`.
        done: How far it is.
        every_s: Seconds from one look to the next.
        kill_at: How far it may go before it is killed (SIGKILL).

    Returns:
        `exit_code`, `seconds`, `cpu_s`, `peak_mib` of its memory, and the `curve`: how far it was
        and how much memory it had at each look.
    """
    began, curve = time.monotonic(), []
    process = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.DEVNULL)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        curve.append((done(), _memory_mib(process.pid)))
        if curve[-1][0] >= kill_at:
            os.kill(process.pid, 9)
            kill_at = np.inf
        time.sleep(every_s)
    process.returncode = os.waitstatus_to_exitcode(status)
    return dict(
        exit_code=process.returncode,
        seconds=round(time.monotonic() - began, 1),
        cpu_s=round(usage.ru_utime + usage.ru_stime, 1),
        peak_mib=round(usage.ru_maxrss / 1024, 1),
        curve=curve,
    )


def _memory_mib(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return round(pages * os.sysconf("SC_PAGE_SIZE") / MIB, 1)
