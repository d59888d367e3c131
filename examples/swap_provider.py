"""Compare how many keyframes several control-point providers request of one model.

python examples/swap_provider.py in.mp4
"""

import argparse

import _tiny

import coprop_plugin as coprop


class Periodic:
    """A provider of your own: one method, `propose(clip)`."""

    def __init__(self, every_s):
        self.every_s = every_s

    def propose(self, clip):
        slots = [int(time_s // self.every_s) for time_s in clip.times.tolist()]
        changes = [t for t in range(len(slots)) if t == 0 or slots[t] != slots[t - 1]]
        return coprop.ControlPoints.from_indices(changes, clip.num_frames, source="periodic")


def bright(frames, audio):
    return frames.mean(1, keepdim=True) - 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="?")
    parser.add_argument("--fps", type=float, default=4.0)
    parser.add_argument("--tiny", action="store_true", help="a synthetic clip")
    args = parser.parse_args()
    clip = coprop.Clip.from_file(_tiny.video() if args.tiny else args.video, fps=args.fps)

    for provider in ("novelty", "cosine", dict(type="every_n", n=4), Periodic(every_s=2.0)):
        model = coprop.wrap(bright, backend="callable", control_points=provider)
        points = model.segment(clip).control_points
        print(f"{points.source:12} {len(points):3} keyframes at {points.indices}")


if __name__ == "__main__":
    main()
