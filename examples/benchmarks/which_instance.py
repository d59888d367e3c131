"""Which of two alike things sounds: does their motion tell?

    python examples/benchmarks/which_instance.py --scenes 12

Made-up scenes with two objects of one kind that sound in turns, both always in the picture; a
listener and a finder that know the truth, but not which of the two it is. With `among="all"` both
are masked, with `among="moving"` the one whose motion goes with the loudness, where that is clear.
`still`: motion has nothing to do with sound; `shakes`: what sounds also shakes. `right`, `wrong`
and `both` are shares of the keyframes.
"""

import argparse
from dataclasses import dataclass

import numpy as np
import torch

import coprop_plugin as coprop
from coprop_plugin.control_points.listening import Activity, Listener
from coprop_plugin.open_vocabulary import Instance, OpenVocabulary
from coprop_plugin.open_vocabulary.instances import boxes_of
from coprop_plugin.types import jaccard
from coprop_plugin.world import KINDS, Scene, SceneObject

SHAKE, SHAKES_HZ = 0.04, 2.3


@dataclass(frozen=True)
class Shaking(SceneObject):
    """An object that shakes while it sounds."""

    def pose(self, time_s: float) -> tuple[float, float, float, float]:
        x, y, scale, angle = super().pose(time_s)
        loud = any(start <= time_s < end for start, end in self.events)
        return x, y + loud * SHAKE * np.sin(2 * np.pi * SHAKES_HZ * time_s), scale, angle


def scene_of(seed: int, shakes: bool) -> Scene:
    """Make a scene of two alike objects that sound in turns, with pauses."""
    rng = np.random.default_rng(seed)
    kind, events, time_s = int(rng.integers(len(KINDS))), ([], []), 0.0
    for turn in range(4):
        length = float(rng.uniform(1.0, 2.0))
        events[turn % 2].append((time_s, time_s + length))
        time_s += length + 0.5
    objects = tuple(
        (Shaking if shakes else SceneObject)(
            kind=kind,
            seed=int(rng.integers(1 << 30)),
            events=tuple(events[n]),
            radius=float(rng.uniform(0.17, 0.24)),
            centre=(0.25 + 0.5 * n, 0.5),
            swing=(float(rng.uniform(0.03, 0.08)), float(rng.uniform(0.03, 0.08))),
            tempo=(float(rng.uniform(0.05, 0.15)), float(rng.uniform(0.05, 0.2))),
        )
        for n in range(2)
    )
    return Scene(objects, time_s, (72, 96), seed)


class Truth:
    """Listener and finder of a scene: knows when its kind sounds, and where both objects are."""

    model_id = "truth"

    def __init__(self, scene: Scene, clip: coprop.Clip) -> None:
        self.scene = scene
        self.frames = {frame.numpy().tobytes(): t for t, frame in enumerate(clip.rgb())}
        self.times = clip.times.tolist()

    def activity(self, waveform, sample_rate, categories):
        rows = np.arange(round(self.scene.duration_s * 100)) / 100 + 0.005
        probs = [[float(bool(self.scene.sounding(t)))] for t in rows]
        return Activity(tuple(categories), torch.tensor(probs), 0.01)

    def find(self, picture, words):
        time_s = self.times[self.frames[picture.numpy().tobytes()]]
        owners = torch.from_numpy(self.scene.owners(time_s))
        masks = torch.stack([owners == n + 1 for n in range(2)])
        logits = torch.where(masks, 8.0, -8.0)
        found = zip(boxes_of(masks), logits, strict=True)
        return [[Instance(box, 0.9, row) for box, row in found] for _ in words]


def measured(seed: int, shakes: bool, among: str) -> tuple[float, list[str]]:
    """Return the mean Jaccard index of a scene, and how each keyframe was decided."""
    scene = scene_of(seed, shakes)
    clip = scene.clip(fps=8)
    truth, known = scene.truth(clip, "instance"), Truth(scene, clip)
    word = KINDS[scene.objects[0].kind].name
    backend = OpenVocabulary(Listener(known), known, [word], among=among)
    result = coprop.wrap(backend, propagator="hold", reanchor=None).segment(clip)
    pairs = zip(result.masks > 0, truth > 0, strict=True)
    score = float(torch.stack([jaccard(mask, true) for mask, true in pairs]).mean())
    decided = []
    for t in result.control_points.indices:
        shown = result.masks[t] > 0
        if not bool(shown.any()) or not bool((truth[t] > 0).any()):
            continue
        owners = torch.from_numpy(scene.owners(float(clip.times[t])))
        hit = {n for n in (1, 2) if bool((shown & (owners == n)).any())}
        true = set(truth[t].unique().tolist()) - {0}
        decided.append("both" if len(hit) == 2 else "right" if hit == true else "wrong")
    return score, decided


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=12)
    options = parser.parse_args()
    print(f"{'motion':8} {'among':8} {'M_J':>6} {'right':>6} {'wrong':>6} {'both':>6}")
    for shakes in (False, True):
        for among in ("all", "moving"):
            rows = [measured(seed, shakes, among) for seed in range(options.scenes)]
            score = sum(score for score, _ in rows) / len(rows)
            kinds = [kind for _, decided in rows for kind in decided]
            shares = [kinds.count(kind) / len(kinds) for kind in ("right", "wrong", "both")]
            motion = "shakes" if shakes else "still"
            print(f"{motion:8} {among:8} {score:6.3f}", *(f"{share:6.2f}" for share in shares))


if __name__ == "__main__":
    main()
