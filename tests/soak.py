"""Kill batches and a training run at random for a while, and compare them with undisturbed ones.

    make soak                    20 minutes, 200 clips, 500 steps
    make soak MINUTES=2 CLIPS=20 STEPS=40

Workers and the parent of `coprop run --workers 2` are killed, and the disk of its results is full
for a while, where a small file system can be mounted. In the end each clip has exactly one whole
result, equal to an undisturbed run's; there is no temporary file and no process. The same is done
to `coprop train`, resumed after each kill: it ends with the weights of an undisturbed run.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from make_results import everything_in
from sessions import Session
from toy_training import assert_same_weights, toy_config

from coprop_plugin import Clip, media
from coprop_plugin.batch import Manifest, find_inputs
from coprop_plugin.training import train

SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
SEGMENTER = """
import time

def gray(frames, audio):
    time.sleep(0.3)
    return frames.mean(1, keepdim=True) - 0.5
"""
DISK = "24m"
ENDING_S = 60


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    random.seed(wanted.seed)
    half_s = wanted.minutes * 30
    with tempfile.TemporaryDirectory(prefix="coprop-soak-") as folder:
        batches(Path(folder) / "batches", wanted.clips, half_s)
        training(Path(folder) / "training", wanted.steps, half_s)
    print("Everything is whole.")


def batches(folder, clips, for_s):
    """Disturb runs of many clips; the results must equal those of one process."""
    videos = folder / "videos"
    videos.mkdir(parents=True)
    (folder / "segmenter.py").write_text(SEGMENTER)
    torch.manual_seed(0)
    for k in range(clips):
        clip = Clip(torch.rand(3, 3, 32, 32), torch.rand(24_000) - 0.5)
        media.write_clip(clip, videos / f"{k:03d}.mp4")
    backend = f"{folder / 'segmenter.py'}:gray"
    command = ["-m", "coprop_plugin.cli", "run", videos, "--backend", backend, "--fps", "2"]
    command += ["--control-points", "every_n", "--propagator", "hold", "--no-overlay", "--quiet"]
    command += ["--threads", "1"]
    alone = Session(folder / "printed alone", *command, "-o", folder / "alone")
    check(alone.process.wait() == 0, f"the undisturbed run failed:\n{alone.stderr()}")
    with small_disk(folder / "disk") as disk:
        out = disk / "out"
        command += ["--workers", "2", "-o", out]
        until, runs = time.monotonic() + for_s, 0
        while time.monotonic() < until:
            runs += 1
            disturb_batch(Session(folder / f"printed{runs}", *command), disk)
        last = Session(folder / "printed", *command)
        check(last.wait_for_all(3600) == [], "processes are left")
        check(last.process.returncode == 0, f"the last run failed:\n{last.stderr()}")
        compare_results(folder / "alone", out, find_inputs([videos]))
    print(f"batches: {runs} disturbed runs of {clips} clips", flush=True)


def disturb_batch(session, disk):
    """Kill a worker or two, fill the disk, then end the run, at moments drawn at random."""
    session.wait_until(session.others, 60)
    for _ in range(random.randint(0, 2)):
        pause(session, 12)
        if random.random() < 0.3 and disk.is_mount():
            filler = disk / "filler"
            with contextlib.suppress(OSError), filler.open("wb") as file:
                while True:
                    file.write(bytes(2**16))
            pause(session, 6)
            filler.unlink()
        elif workers := session.others():
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(workers), random.choice(SIGNALS[:3]))
    pause(session, 12)
    end(session)


def training(folder, steps, for_s):
    """Kill and resume a training run; its weights must equal those of an undisturbed one."""
    name = "world_keyframes_small"
    straight = train(config_of(name, folder / "straight", steps))
    config = config_of(name, folder / "killed", steps)
    config.dump(folder / "config.py")
    command = ["-m", "coprop_plugin.cli", "train", folder / "config.py", "--resume"]
    until, kills, done = time.monotonic() + for_s, 0, False
    while not done and time.monotonic() < until:
        session = Session(folder / f"printed{kills}", *command)
        pause(session, 45)
        done = session.process.poll() == 0
        kills += not done
        end(session)
    last = Session(folder / "printed", *command)
    check(last.wait_for_all(3600) == [], "processes are left")
    check(last.process.returncode == 0, f"the last run failed:\n{last.stderr()[-3000:]}")
    assert_same_weights(straight, folder / "killed" / "weights.safetensors", rtol=0, atol=0)
    parts = [path.name for path in (folder / "killed").rglob("*.part")]
    check(not parts, f"temporary files are left: {parts}")
    print(f"training: {kills} kills in {steps} steps", flush=True)


def config_of(name, folder, steps):
    config = toy_config(name, folder, steps)
    config.default_hooks.checkpoint.update(interval=20, max_keep_ckpts=1)
    config.train_dataloader.update(num_workers=1, persistent_workers=True)
    return config


def pause(session, most_s):
    """Wait for a random time, or until the program has ended."""
    session.wait_until(lambda: False, random.uniform(0, most_s))


def end(session):
    """End a program that runs, by a signal drawn at random; nothing of it may be left."""
    if session.process.poll() is None:
        session.process.send_signal(random.choice(SIGNALS))
    left = session.wait_for_all(ENDING_S)
    check(not left, f"processes are left: {left}\n{session.stderr()[-3000:]}")


def compare_results(alone, out, paths):
    names = {path.stem for path in paths}
    found = {path.name for path in out.iterdir()}
    hidden = {".manifest.jsonl.lock"}
    check(found - hidden == names | {"manifest.jsonl"}, f"other files: {found - hidden - names}")
    noted = Manifest.read(out)
    states = {noted[str(path)]["state"] for path in paths}
    check(states <= {"done", "skipped"}, f"the manifest says {states}")
    for name in sorted(names):
        files = everything_in(alone / name)
        check(files == everything_in(out / name), f"{name} has other files")
        for file in files:
            same = (alone / name / file).read_bytes() == (out / name / file).read_bytes()
            check(same, f"{name}/{file} differs")


@contextlib.contextmanager
def small_disk(folder):
    """Mount a small file system, if this process may; otherwise yield a plain folder."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    mounted = shutil.which("mount") and subprocess.run(mount, capture_output=True).returncode == 0
    if not mounted:
        print("No small disk can be mounted here: the disk is never full.", flush=True)
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def check(holds, fault):
    if not holds:
        raise SystemExit(f"soak: {fault}")


if __name__ == "__main__":
    main()
