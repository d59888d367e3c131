"""Effect of sound on propagation: segments whose sound stops or is replaced in the middle.

    python examples/benchmarks/sound_decides.py --propagators flow,PATH --scenes 100

Of each scene of the synthetic world's test split the segments of at least four frames in which
a visible object sounds: the keyframe has its true mask, and from the segment's middle on the sound
is replaced by silence or by another scene's. There is no control point in the middle, so only a
propagator that uses audio can react. For the frames from the middle on it prints how many masks are
empty, and the mean probability where the objects are visible: with the segment's own sound, where
masks should stay, and with either replacement, where they should not.
"""

import argparse
from dataclasses import replace

import torch

import coprop_plugin as coprop
from coprop_plugin.propagation import as_propagator
from coprop_plugin.types import Clip
from coprop_plugin.world import SPLITS, Scene, made_up_scene

SIZE = (112, 160)
LEAST_FRAMES = 4
SOUNDS = ("own", "silence", "another's")


def segments(scene: Scene, fps: float) -> list[tuple[Clip, torch.Tensor]]:
    """Return the segments that count, each as a clip, and where what sounds is to be seen."""
    clip, found = scene.clip(fps), []
    for segment in scene.control_points(clip).segments:
        sounding = scene.prevailing(*clip.spans[segment.start].tolist())
        times = clip.times[segment.start : segment.stop]
        seen = torch.stack([scene.mask(time_s, sounding, "binary") for time_s in times.tolist()])
        if len(segment) >= LEAST_FRAMES and seen.flatten(1).any(1).all():
            part = Clip(clip.frames[segment.start : segment.stop], clip.waveform, 16_000, times)
            found.append((part, seen))
    return found


def with_sound(clip: Clip, cut_s: float, other: torch.Tensor | None) -> Clip:
    """Replace a clip's sound from `cut_s` on: by `other`, or by silence where that is None."""
    first = round(cut_s * clip.sample_rate)
    waveform = clip.waveform.clone()
    waveform[first:] = 0 if other is None else other[first : len(waveform)]
    return replace(clip, waveform=waveform)


class Marked:
    """A backend that answers with the given masks `[T, H, W]`."""

    num_classes = 1

    def __init__(self, masks: torch.Tensor) -> None:
        self.masks = masks

    def segment_keyframes(self, clip, indices) -> torch.Tensor:
        return 20.0 * self.masks[indices, None].float() - 10


def propagated(propagator, clip: Clip, seen: torch.Tensor) -> torch.Tensor:
    """Propagate the first frame's true mask; returns probabilities `[T, H, W]`."""
    flags = [1] + [0] * (clip.num_frames - 1)
    model = coprop.wrap(Marked(seen), control_points=flags, propagator=propagator, reanchor=None)
    return model.segment(clip).probs[:, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--propagators", default="flow,default")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--fps", type=float, default=4.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scenes = [made_up_scene(seed, SIZE) for seed in list(SPLITS["test"])[: arguments.scenes]]
    waveforms = [scene.waveform() for scene in scenes]
    for name in arguments.propagators.split(","):
        propagator = as_propagator(name)
        empty, probability = {s: [] for s in SOUNDS}, {s: [] for s in SOUNDS}
        for number, scene in enumerate(scenes):
            other = waveforms[number - 1]
            for clip, seen in segments(scene, arguments.fps):
                middle = clip.num_frames // 2
                cut_s = float(clip.times[middle])
                variants = (clip, with_sound(clip, cut_s, None), with_sound(clip, cut_s, other))
                for sound, changed in zip(SOUNDS, variants, strict=True):
                    probs = propagated(propagator, changed, seen)[middle:]
                    empty[sound] += (probs <= 0.5).flatten(1).all(1).tolist()
                    probability[sound] += probs[seen[middle:] > 0].mean()[None].tolist()
        for sound in SOUNDS:
            share, mean = (torch.tensor(x[sound]).float().mean() for x in (empty, probability))
            print(
                f"{name:9.9} {sound:9} empty {share:6.1%} of {len(empty[sound])} frames, "
                f"mean probability of what sounded {mean:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
