"""Cost of a limit on long-term memory: masks propagated through long clips with several memories.

    OMP_NUM_THREADS=1 python examples/benchmarks/long_term_memory.py propagator.safetensors

Clips of the synthetic world, 400 frames at 8 frames a second in one single segment: scenes in which
the first sounding object is followed while visible (without audio), scenes in which one object
sounds all the time (with audio), and objects of arbitrary shape. The first mask is the true one;
M_J is AVSBench's. A memory is `all`, or a policy and a limit: `useful:8`.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from propagation_baseline import frame_iou
from torch import Tensor

from coprop_plugin.propagation import as_propagator
from coprop_plugin.world import Scene, sprite_clip

MEMORIES = "all,recent:4,useful:4,merge:4,recent:8,useful:8,merge:8,recent:16,useful:16,merge:16"
FPS = 8
Row = tuple[Tensor, Tensor, Tensor | None]


def scene(propagator, seed: int, frames: int, size: tuple[int, int], steady: bool) -> Row:
    """Return frames `[T, 3, H, W]`, object ids `[T, H, W]`, and sound where it is steady."""
    made = Scene.made_up(seed, (frames + 1) / FPS, size, steady=steady)
    clip = made.clip(fps=FPS)[:frames]
    first = made.sounding(float(clip.times[0]))
    ids = torch.stack([made.mask(t, first, "instance") for t in clip.times.tolist()])
    return clip.frames, _from_one(ids), propagator.hear(clip) if steady else None


def shapes(seed: int, frames: int, size: tuple[int, int]) -> Row:
    """Return the same of objects of random shape, without sound."""
    pictures, ids = sprite_clip(np.random.default_rng([seed, 7]), frames, size, speed=0.5)
    return torch.from_numpy(pictures), torch.from_numpy(ids).long(), None


def _from_one(ids: Tensor) -> Tensor:
    """Number what the first frame shows from 1; the rest is background."""
    table = torch.zeros(int(ids.max()) + 1, dtype=torch.long)
    shown = ids[0].unique()
    shown = shown[shown > 0]
    table[shown] = torch.arange(1, len(shown) + 1)
    return table[ids]


def clips(propagator, kind: str, count: int, frames: int, size: tuple[int, int]) -> list[Row]:
    """Make clips of a kind whose first frame shows something."""
    rows, seed = [], 2_000
    while len(rows) < count:
        if kind == "shapes":
            row = shapes(seed, frames, size)
        else:
            row = scene(propagator, seed, frames, size, steady=kind == "sounding")
        seed += 1
        if row[1][0].any():
            rows.append(row)
    return rows


@torch.no_grad()
def scored(propagator, rows: list[Row]) -> tuple[float, float]:
    """Propagate all clips at once; returns M_J in percent, and CPU seconds a frame."""
    frames, ids = (torch.stack(x) for x in list(zip(*rows, strict=True))[:2])
    sound = None if rows[0][2] is None else torch.stack([row[2] for row in rows])
    tokens = [None if sound is None else sound[:, t] for t in range(frames.shape[1])]
    picture = frames.float() / 255
    begin, scores = time.process_time(), []
    memory = propagator.start(picture[:, 0], tokens[0], ids[:, 0])
    for t in range(1, frames.shape[1]):
        found = propagator.step(memory, picture[:, t], tokens[t]).argmax(1) > 0
        scores.append(frame_iou(found, ids[:, t] > 0))
    seconds = (time.process_time() - begin) / frames.shape[1] / len(rows)
    return 100 * float(torch.stack(scores).mean()), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--memories", default=MEMORIES)
    parser.add_argument("--kinds", default="followed,sounding,shapes")
    parser.add_argument("--clips", type=int, default=6, help="of each kind")
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--size", type=int, nargs=2, default=(112, 160))
    parser.add_argument("--out", type=Path, help="JSON with all figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    propagator, figures = as_propagator(arguments.weights), []
    for kind in arguments.kinds.split(","):
        rows = clips(propagator, kind, arguments.clips, arguments.frames, tuple(arguments.size))
        for memory in arguments.memories.split(","):
            policy, _, limit = memory.partition(":")
            propagator.max_memory_frames = int(limit) if limit else None
            propagator.memory_policy = policy if limit else "recent"
            quality, seconds = scored(propagator, rows)
            figures.append(dict(kind=kind, memory=memory, m_j=quality, ms=1e3 * seconds))
            print(f"{kind:9} {memory:10} M_J {quality:6.2f}  {1e3 * seconds:6.1f} ms", flush=True)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
