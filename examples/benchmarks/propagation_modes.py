"""Effect of bf16, fp16, torch.compile, look-ahead encoding and batched segments on propagation.

    OMP_NUM_THREADS=1 python examples/benchmarks/propagation_modes.py
    python examples/benchmarks/propagation_modes.py --device cuda --sizes 225x225,481x849,577x1041

A scene of the synthetic world is propagated from its first mask, in one segment. A mode is a
precision (`float32`, `bf16`, `fp16`: autocast) and any of `compiled`, `ahead:4` (frames encoded at
once), `batch:4` (segments at once; four times the same one). Milliseconds a frame are the median,
of this process's CPU time or, on a GPU, of the clock; `flipped` is the share of pixels whose mask
is not that of float32. With random weights (no `--weights`) it means little. Sizes are height x
width; 1080p frames are resized to 577x1041, 480p to 481x849. Each run adds to `--out`.
"""

import argparse
import contextlib
import statistics
import time
from pathlib import Path

import torch
from _history import add_run
from torch import Tensor

from coprop_plugin.propagation import AudioInsertPropagator, as_propagator
from coprop_plugin.world import Scene

MODES = "float32,float32 ahead:4,float32 batch:4,float32 compiled,bf16,bf16 compiled,fp16"
PRECISIONS = dict(bf16=torch.bfloat16, fp16=torch.float16)


def clip(size: tuple[int, int], frames: int) -> tuple[Tensor, Tensor]:
    """Return frames `[T, 1, 3, H, W]` of a scene, and the first one's masks `[1, H, W]`."""
    scene = Scene.made_up(3, duration_s=(frames + 1) / 8, size=size, steady=True)
    made = scene.clip(fps=8)[:frames]
    masks = (scene.masks([float(made.times[0])]) > 0).long()
    return made.rgb()[:, None], masks


def built(weights: Path | None, mode: str, device: str) -> AudioInsertPropagator:
    """Build a propagator as a mode wants it."""
    torch.manual_seed(0)
    propagator = AudioInsertPropagator("R50_AOTL", insert_layers=()).eval()
    if weights is not None:
        propagator = as_propagator(weights)
    propagator = propagator.to(device)
    if "compiled" in mode:
        propagator.network.compile()
    return propagator


def number(mode: str, option: str) -> int:
    """Return n of `option:n` in a mode; 1 if it is not there."""
    given = [word for word in mode.split() if word.startswith(option + ":")]
    return int(given[0].split(":")[1]) if given else 1


def now(device: str) -> float:
    """Return seconds: of the process on a CPU, by the clock on a GPU that is done."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


@torch.no_grad()
def propagated(
    propagator: AudioInsertPropagator, mode: str, frames: Tensor, masks: Tensor, device: str
) -> tuple[float, Tensor]:
    """Propagate the masks; returns milliseconds per frame, and the masks after the first."""
    ahead, batch = number(mode, "ahead"), number(mode, "batch")
    frames = frames.expand(-1, batch, -1, -1, -1).to(device)
    kind = PRECISIONS.get(mode.split()[0])
    precision = contextlib.nullcontext() if kind is None else torch.autocast(device, kind)
    found, seconds = [], []
    with precision:
        memory = propagator.start(frames[0], None, masks.expand(batch, -1, -1).to(device))
        for t in range(1, len(frames), ahead):
            begin, some = now(device), frames[t : t + ahead]
            if ahead > 1:
                propagator.look_ahead(memory, some, None)
            outputs = [propagator.step(memory, frame, None) for frame in some]
            seconds.append((now(device) - begin) / len(some) / batch)
            found += [logits.argmax(1)[0].cpu() for logits in outputs]
    return 1e3 * statistics.median(seconds), torch.stack(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if cuda else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--sizes", default="225x225")
    parser.add_argument("--frames", type=int, default=13)
    parser.add_argument("--modes", default=MODES)
    parser.add_argument("--weights", type=Path, help="a propagator's; else R50_AOTL, random")
    parser.add_argument("--out", type=Path, help="JSON history to add this run to")
    arguments = parser.parse_args()
    if arguments.device == "cpu":
        torch.set_num_threads(1)
    rows = []
    for size in arguments.sizes.split(","):
        frames, masks = clip(tuple(map(int, size.split("x"))), arguments.frames)
        exact = None
        for mode in ["float32", *(m for m in arguments.modes.split(",") if m != "float32")]:
            propagator = built(arguments.weights, mode, arguments.device)
            # Warm up: compilation and kernel selection are not timed.
            warm = frames[: 1 + 2 * number(mode, "ahead")]
            propagated(propagator, mode, warm, masks, arguments.device)
            ms, found = propagated(propagator, mode, frames, masks, arguments.device)
            exact = found if exact is None else exact
            flipped = 100 * float((found != exact).float().mean())
            rows.append(dict(size=size, mode=mode, ms=ms, flipped_percent=flipped))
            print(f"{size:9} {mode:18} {ms:8.1f} ms  {flipped:6.3f} % flipped", flush=True)
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    weights = "random R50_AOTL" if arguments.weights is None else arguments.weights.name
    add_run(arguments.out, dict(device=device, weights=weights, modes=rows))


if __name__ == "__main__":
    main()
