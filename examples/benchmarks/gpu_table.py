"""Propagation on a GPU beside AOT: frames a second and memory, in every precision; six minutes.

    python examples/benchmarks/gpu_table.py --upstream PATH --out gpu.json

R50_AOTL with random weights at frame T after the keyframe, as in `propagation_speed.py`, which also
says who takes part; `--upstream` is a checkout of github.com/yoxu515/aot-benchmark. A case is
`HEIGHTxWIDTH:T`; 1080p frames are 577x1041 in the network. `float32` is without TF32; `bf16` is
autocast. A cell is the median of the steps of a few seconds, and the largest memory that torch
allocated, weights included. Cells that --budget leaves no time for are said to be missing. On a CPU
the script runs, to be tried, but precisions other than bf16 are the same there.
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from _history import MIB, add_run
from propagation_speed import ready

CASES = "225x225:10,465x465:60,465x465:150,577x1041:60"
PLAIN = ("plain unfold", "plain dense")
OURS = ("ours", "ours, memory of 8", "ours, memory of 8, compiled")


def cells(upstream: Path | None) -> Iterator[tuple[str, str]]:
    """Yield each contestant with a precision; what takes long comes last."""
    names = [*PLAIN, *(["upstream"] if upstream else []), *OURS[:2]]
    yield from ((name, "float32") for name in names)
    yield from ((name, precision) for precision in ("tf32", "bf16") for name in names[2:])
    yield from ((OURS[2], precision) for precision in ("tf32", "bf16"))


@contextlib.contextmanager
def precisely(precision: str, device: str) -> Iterator[None]:
    """Compute in `float32`, `tf32` or `bf16`."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    try:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def finished(device: str) -> float:
    """Return the time, in seconds, when the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


@torch.no_grad()
def measured(
    name: str, size: tuple[int, int], frames: int, device: str, most_s: float, upstream: Path | None
) -> dict[str, float]:
    """Return frames a second of a contestant, and its largest memory in MiB."""
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with torch.device(device):
        step = ready(name, size, frames, upstream)
    for _ in range(2):
        step()
    taken: list[float] = []
    while not taken or (sum(taken) < most_s and len(taken) < 50):
        begin = finished(device)
        step()
        taken.append(finished(device) - begin)
    peak = torch.cuda.max_memory_allocated() / MIB if device == "cuda" else float("nan")
    return dict(fps=round(1 / statistics.median(taken), 2), peak_mib=round(peak, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=here, choices=["cpu", "cuda"])
    parser.add_argument("--cases", default=CASES)
    parser.add_argument("--seconds", type=float, default=3.0, help="most of a cell's steps")
    parser.add_argument("--budget", type=float, default=330.0, help="seconds of all cells")
    parser.add_argument("--upstream", type=Path, help="a checkout of AOT's own code")
    parser.add_argument("--out", type=Path, help="JSON history to add this run to")
    arguments = parser.parse_args()
    began, rows, missing = time.perf_counter(), [], []
    cases = [case.split(":") for case in arguments.cases.split(",")]
    for name, precision in cells(arguments.upstream):
        for size, frames in cases:
            cell = dict(name=name, precision=precision, size=size, frames=int(frames))
            if time.perf_counter() - began > arguments.budget:
                missing.append(cell)
                continue
            height, width = map(int, size.split("x"))
            with precisely(precision, arguments.device):
                cell |= measured(
                    name,
                    (height, width),
                    int(frames),
                    arguments.device,
                    arguments.seconds,
                    arguments.upstream,
                )
            rows.append(cell)
            print(*cell.values(), sep="\t", flush=True)
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    add_run(arguments.out, dict(device=device, cells=rows, missing=missing))


if __name__ == "__main__":
    main()
