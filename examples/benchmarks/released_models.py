"""Time and memory of our models of released families, against their authors' code, in turn.

    export COPROP_UPSTREAM=checkouts
    python examples/benchmarks/released_models.py tpavi-res50-s4 catr-pvt2-s4

COPROP_UPSTREAM names a folder with the checkouts `avsbench`, `avsegformer` and `catr`. Both models
have the same random weights and run on the CPU, `window`: a clip of five frames, all of them
requested, or one; and `keyframe`: one frame alone, for which the released code is given the frame
as often as it needs. Each line has processor seconds, all cores together, the best of some rounds;
and the peak of what a call takes above the loaded models, in MB, the worst of them. Linux only.
"""

import argparse
import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parents[2] / "tests"


def status_kb(field: str) -> int:
    """Read a line of /proc/self/status, e.g. `VmRSS`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def measured(call) -> tuple[float, float]:
    """Processor seconds of a call, and MB that it takes at its peak above what was there."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # What earlier calls have freed goes back.
    Path("/proc/self/clear_refs").write_text("5")  # Reset the peak.
    before, begin = status_kb("VmRSS"), time.process_time()
    call()
    return time.process_time() - begin, (status_kb("VmHWM") - before) / 1024


def in_turn(calls: dict, rounds: int) -> dict[str, tuple[float, float]]:
    """Run some calls round after round; the least seconds and the most MB of each."""
    found = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(measured(call))
    return {
        name: (min(seconds for seconds, _ in rows), max(mb for _, mb in rows))
        for name, rows in found.items()
    }


def compare(name: str, side: int, rounds: int) -> None:
    """Measure one pair of models in this process."""
    from upstream_ours import build_pair

    from coprop_plugin.adapters import find_backend
    from coprop_plugin.types import Clip, avsbench_times

    theirs, ours = build_pair(name)
    clip = Clip(
        torch.rand(5, 3, side, side),
        None,
        times=avsbench_times(5),
        log_mel=torch.rand(5, 1, 96, 64) * 4 - 4,
        audio_embedding=torch.rand(5, 128) * 2,
    )
    for case, context, keyframes in (
        ("window", "window", [0, 1, 2, 3, 4]),
        ("keyframe in its window", "window", [2]),
        ("keyframe", "frame", [2]),
    ):
        calls = {}
        for who, model in (("upstream", theirs), ("ours", ours)):
            # As the released code is, five times the frame.
            as_is = dict(patch=False) if name.startswith("tpavi") else {}
            backend = find_backend(model, context=context, input_size=side, **as_is)
            calls[who] = lambda backend=backend, frames=keyframes: backend.segment_keyframes(
                clip, frames
            )
        found = in_turn(calls, rounds)
        (upstream_s, upstream_mb), (ours_s, ours_mb) = found["upstream"], found["ours"]
        row = dict(
            model=name,
            case=case,
            side=side,
            upstream_s=round(upstream_s, 2),
            ours_s=round(ours_s, 2),
            time=round(ours_s / upstream_s, 2),
            upstream_mb=round(upstream_mb),
            ours_mb=round(ours_mb),
            memory=round(ours_mb / max(upstream_mb, 1), 2),
        )
        print(json.dumps(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "models", nargs="+", help="E.g. tpavi-res50-s4; all: tests/upstream_checks.py"
    )
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not Path(os.environ.get("COPROP_UPSTREAM", "")).is_dir():
        parser.error("Set COPROP_UPSTREAM to the folder with the authors' checkouts.")
    if arguments.here:
        compare(arguments.models[0], arguments.side, arguments.rounds)
        return
    # All of them call their packages `model` and `utils`: one process each. It builds them with
    # the code that tests them.
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    for name in arguments.models:
        options = ["--here", "--side", str(arguments.side), "--rounds", str(arguments.rounds)]
        subprocess.run(
            [sys.executable, "-W", "ignore", __file__, name, *options],
            env=os.environ | {"PYTHONPATH": path},
            check=True,
        )


if __name__ == "__main__":
    main()
