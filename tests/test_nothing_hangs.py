"""The watchdog: whatever ends a program, at whatever stage, no process of it is left."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from make_avsbench import make_ms3
from sessions import Session
from toy_training import toy_config

from coprop_plugin import Clip, media

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc"),
]
# A worker gets 5 s to clean up; a busy machine takes its time for the rest.
PATIENCE_S = 60
SEGMENTERS = """
import time

def slow(frames, audio):
    print("working", flush=True)
    time.sleep(3600)

class Slow:
    name = "slow"

    def propose(self, clip):
        return slow(clip.frames, None)

def gray(frames, audio):
    return frames.mean(1, keepdim=True) - 0.5
"""
CONSUMER = """
import os
import signal
from functools import partial
from pathlib import Path
from coprop_plugin.batch import Options, find_inputs, make_model, run_many

def main(folder, out, how):
    make = partial(make_model, f"{folder / 'segmenters.py'}:slow", control_points="every_n")
    outcomes = run_many(make, find_inputs([folder / "videos"]), out, Options(fps=2), workers=2)
    for outcome in outcomes:
        if how == "raise":
            raise ValueError(outcome.input)
        if how == "exit":
            sys.exit(3)
        os.kill(os.getpid(), signal.Signals[how])

if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watchdog")
    (folder / "segmenters.py").write_text(SEGMENTERS)
    (folder / "consumer.py").write_text(CONSUMER)
    (folder / "videos").mkdir()
    (folder / "videos" / "a bad one.mp4").write_text("no video")
    for k in range(4):
        clip = Clip(torch.rand(2, 3, 32, 32), torch.rand(16_000) - 0.5)
        media.write_clip(clip, folder / "videos" / f"{k}.mp4")
    make_ms3(folder / "ms3", {name: ("test", "11011") for name in "abcd"}, (32, 32))
    config = toy_config("world_keyframes_small", folder / "work", steps=100_000)
    config.train_dataloader.update(num_workers=2, persistent_workers=True)
    config.dump(folder / "train.py")
    return folder


def command(entry, folder, out):
    slow = ("--backend", f"{folder / 'segmenters.py'}:slow", "--control-points", "every_n")
    coprop = ("-m", "coprop_plugin.cli")
    return {
        "run": (*coprop, "run", folder / "videos", "-o", out, *slow),
        "run --workers 2": (*coprop, "run", folder / "videos", "-o", out, *slow, "--workers", "2"),
        "bench": (*coprop, "bench", folder / "ms3", "-o", out, "-b", f"a={slow[1]}"),
        "anchor": (
            *(*coprop, "anchor", folder / "videos", "-o", out / "points.json"),
            *("--control-points", f"{folder / 'segmenters.py'}:Slow"),
        ),
        "train": (*coprop, "train", folder / "train.py", "--work-dir", out),
    }[entry]


def is_working(entry, session, out):
    if entry in ("bench", "anchor"):
        return "working" in session.stderr()
    if entry == "train":
        return any(out.glob("*.pth"))
    return len(list(out.glob(".*.part"))) == (2 if entry.endswith("2") else 1)


@pytest.mark.parametrize("entry", ["run", "run --workers 2", "anchor", "bench", "train"])
@pytest.mark.parametrize("kind", ["SIGTERM", "SIGINT", "SIGKILL"])
@pytest.mark.parametrize("stage", [0.2, 2.0, 6.0, "working"])
def test_no_process_is_left(folder, tmp_path, entry, kind, stage):
    out = tmp_path / "out"
    session = Session(tmp_path / "printed", *command(entry, folder, out))
    if stage == "working":
        session.wait_until(lambda: is_working(entry, session, out))
        assert session.process.poll() is None, session.stderr()
    else:
        time.sleep(stage)
    os.kill(session.process.pid, signal.Signals[kind])
    session.wait_until(lambda: not session.left(), PATIENCE_S / 2)
    if kind == "SIGINT" and "Exception ignored in" in session.stderr():
        # Python loses a Ctrl-C that meets a callback, e.g. of an import; people press it again.
        with contextlib.suppress(ProcessLookupError):
            os.kill(session.process.pid, signal.SIGINT)
    assert session.wait_for_all(PATIENCE_S) == [], session.stderr()


@pytest.mark.parametrize("how", ["raise", "exit", "SIGTERM", "SIGINT", "SIGKILL"])
def test_no_process_is_left_of_a_program_that_ends_between_outcomes(folder, tmp_path, how):
    program = (folder / "consumer.py", folder, tmp_path / "out", how)
    session = Session(tmp_path / "printed", *program)
    session.process.wait(300)
    assert session.wait_for_all(PATIENCE_S) == [], session.stderr()
    assert session.process.returncode != 0


@pytest.mark.parametrize("stdout", ["/dev/full", "closed"])
def test_a_run_that_cannot_print_ends_when_its_work_is_done(folder, tmp_path, stdout):
    gray = ("--backend", f"{folder / 'segmenters.py'}:gray", "--control-points", "every_n")
    arguments = ("-o", tmp_path / "out", *gray, "--workers", "2")
    command = ("-m", "coprop_plugin.cli", "run", folder / "videos", *arguments)
    if stdout == "closed":
        script = (
            "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        )
        command = ("-c", script, *command)
    session = Session(tmp_path / "printed", *command, stdout=stdout if stdout[0] == "/" else None)
    assert session.wait_for_all(300) == [], session.stderr()
    # One of the files is no video.
    assert session.process.returncode == 1
    assert "Stdout cannot be written" in session.stderr()
    assert len(list((tmp_path / "out").glob("*/result.json"))) == 4
