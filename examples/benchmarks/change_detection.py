"""Where a control-point provider errs on mixtures of recordings whose changes are known.

    python examples/benchmarks/change_detection.py FOLDER --split test --clips 200
    python examples/benchmarks/change_detection.py FOLDER --provider novelty
    python examples/benchmarks/change_detection.py FOLDER --plot curves.png

FOLDER holds recordings, see docs/change_detector.md. Prints precision and recall at thresholds, the
changes that are missed and those that are false by kind, how often changes of each probability are
real, and the false changes in ten minutes of single sources that pause. `--plot` draws the first
and the third beside `novelty`.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from coprop_plugin.benchmark.datasets import Sample
from coprop_plugin.benchmark.metrics import matched_control_points
from coprop_plugin.benchmark.sound_scenes import SoundScenes
from coprop_plugin.benchmark.world_clips import WorldOptions
from coprop_plugin.control_points import ChangeDetectorProvider, as_provider
from coprop_plugin.training.sound_folder import RATE, SoundFolder
from coprop_plugin.training.sound_mixtures import Mixture, MixtureRenderer
from coprop_plugin.types import Clip, ControlPoints

Propose = Callable[[Clip], ControlPoints]
NEAR_S = 0.15
"""A change counts as found if one is detected at most this far away."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--provider", default="change_detector")
    parser.add_argument("--weights")
    parser.add_argument("--split", default="test")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.2, 0.35, 0.5, 0.65, 0.8])
    parser.add_argument("--plot", type=Path, help="picture of the curves, e.g. curves.png")
    arguments = parser.parse_args()
    mixtures, *clips = test_set(arguments)
    provider = as_provider(arguments.provider)
    providers = {arguments.provider: provider}
    if arguments.provider == "change_detector":
        provider = ChangeDetectorProvider(arguments.weights)
        providers = {
            f"threshold {t}": ChangeDetectorProvider(arguments.weights, t)
            for t in arguments.thresholds
        }
    scores = {}
    for name, each in providers.items():
        scores[name] = scores_of(each.propose, clips)
        exact, near = (f"{s.f1:.3f} ({s.precision:.2f} / {s.recall:.2f})" for s in scores[name])
        print(f"{name:16} 1 fps, exact: {exact}   8 fps, within a frame: {near}", flush=True)
    print(errors_by_kind(provider.propose, clips[1], mixtures), flush=True)
    if arguments.provider == "change_detector":
        lowest = ChangeDetectorProvider(arguments.weights, 0.1)
        shares = reliability(lowest.propose, clips[1], mixtures)
        print("probability, share that is real:", *(f"{p:.2f} {real:.2f}," for p, real in shares))
        if arguments.plot:
            novelty = scores_of(as_provider("novelty").propose, clips)
            curve = dict(zip(arguments.thresholds, scores.values(), strict=True))
            plot(curve, novelty, shares, arguments.plot)
    for seed, clip, mixture in single_sources(arguments.folder, arguments.split, minutes=10):
        true = [second for second, _ in mixture.states()[1:]]
        for name, each in providers.items():
            found = seconds_of(each.propose(clip))
            false = sum(distance(second, true) > NEAR_S for second in found)
            print(
                f"ten minutes of one source, seed {seed}, {name}: {false} false changes, "
                f"{len(found) - false} found of {len(true)}",
                flush=True,
            )


def test_set(arguments: argparse.Namespace) -> tuple[list[Mixture], list[Sample], list[Sample]]:
    """Return the mixtures, and clips with them at 1 and 8 frames a second."""
    samples = []
    for fps in (1, 8):
        # Only the audio is used, so the frames are small.
        options = WorldOptions((16, 24), 10 * fps, float(fps), "avsbench" if fps == 1 else "pts")
        folder, split, seed = arguments.folder, arguments.split, arguments.seed
        scenes = SoundScenes(folder, arguments.clips, split, seed, options)
        samples.append(list(scenes))
    return [scenes.mixture(index) for index in range(len(scenes))], *samples


class Scores(NamedTuple):
    """Scores of the control points after the first frame."""

    f1: float
    precision: float
    recall: float


def scores_of(propose: Propose, clips: Sequence[list[Sample]]) -> list[Scores]:
    """Return the scores at 1 frame a second, exact, and at 8, within a frame."""
    scores = []
    for tolerance, samples in enumerate(clips):
        matched = found = true = 0
        for sample in samples:
            counts = matched_control_points(propose(sample.clip), sample.control_points, tolerance)
            matched, found, true = matched + counts[0], found + counts[1], true + counts[2]
        f1 = 2 * matched / max(found + true, 1)
        scores.append(Scores(f1, matched / max(found, 1), matched / max(true, 1)))
    return scores


def errors_by_kind(propose: Propose, samples: list[Sample], mixtures: list[Mixture]) -> str:
    """Return the changes that are missed, and those that are false, by kind."""
    missed, total, false = Counter[str](), Counter[str](), Counter[str]()
    for sample, mixture in zip(samples, mixtures, strict=True):
        found = seconds_of(propose(sample.clip))
        states = mixture.states()
        seconds = [second for second, _ in states[1:]]
        for (second, after), (_, before) in zip(states[1:], states, strict=False):
            kinds = [kind_of(before, after)]
            if any(0 < abs(second - other) < 1 for other in seconds):
                kinds.append("less than 1 s from another")
            total.update(kinds)
            missed.update(kinds if distance(second, found) > NEAR_S else ())
        for second in found:
            if distance(second, seconds) > NEAR_S:
                active = [state for start, state in states if start <= second][-1]
                false[("in silence", "in one source", "in an overlap")[min(len(active), 2)]] += 1
    shares = ", ".join(f"{kind} {missed[kind]}/{total[kind]}" for kind in sorted(total))
    return f"missed: {shares}; false: {dict(false)}"


def seconds_of(points: ControlPoints) -> list[float]:
    """Return the times of the changes before snapping."""
    return [boundary["second"] for boundary in points.log["boundaries"]]


def kind_of(before: frozenset[int], after: frozenset[int]) -> str:
    if not before or not after:
        return "offset" if before else "onset"
    if before < after:
        return "join"
    return "leave" if after < before else "turn"


def distance(second: float, others: Iterable[float]) -> float:
    return min((abs(second - other) for other in others), default=float("inf"))


def reliability(
    propose: Propose, samples: list[Sample], mixtures: list[Mixture]
) -> list[tuple[float, float]]:
    """Return the mean probability in bins, and the share of real changes in each."""
    rows = []
    for sample, mixture in zip(samples, mixtures, strict=True):
        seconds = [second for second, _ in mixture.states()[1:]]
        rows += [
            (b["score"], distance(b["second"], seconds) <= NEAR_S)
            for b in propose(sample.clip).log["boundaries"]
        ]
    probs, real = np.array(rows, dtype=float).T
    bins = (probs * 10).astype(int).clip(1, 9)
    return [
        (float(probs[bins == n].mean()), float(real[bins == n].mean())) for n in np.unique(bins)
    ]


def plot(
    curve: dict[float, list[Scores]],
    novelty: list[Scores],
    shares: list[tuple[float, float]],
    path: Path,
) -> None:
    """Draw F1 and precision against recall by threshold, and how many changes are real."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, 3)
    names = ("1 fps, exact", "8 fps, within a frame")
    for number, (name, colour) in enumerate(zip(names, ("#1b9e77", "#e377a8"), strict=True)):
        scores = [each[number] for each in curve.values()]
        f1, precision, recall = zip(*scores, strict=True)
        style = dict(color=colour, marker="o", markersize=4, label=name)
        panels[0].plot(list(curve), f1, **style)
        panels[0].axhline(novelty[number].f1, color=colour, linestyle=":", label="novelty")
        panels[1].plot(recall, precision, **style)
        panels[1].plot(*novelty[number][:0:-1], "x", color=colour, label="novelty")
        for threshold, *place in zip(curve, recall, precision, strict=True):
            panels[1].annotate(f"{threshold:g}", place, fontsize=7)
    panels[2].plot([0, 1], [0, 1], ":", color="#8a8a8a")
    panels[2].plot(*zip(*shares, strict=True), "o-", color="#e377a8", markersize=4)
    for panel, x, y in zip(
        panels,
        ("threshold", "recall", "probability of a change"),
        ("F1", "precision", "share that is real"),
        strict=True,
    ):
        panel.set(xlabel=x, ylabel=y)
        panel.grid(alpha=0.3)
    panels[0].legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=80)


def single_sources(folder: str, split: str, minutes: int) -> Iterable[tuple[int, Clip, Mixture]]:
    """Yield clips of one source each, which pauses and repeats; 1 frame a second.

    Silence of more than 0.8 s between two of its recordings is a true change.
    """
    sounds = SoundFolder(folder, split)
    for seed in range(4):
        mixture = MixtureRenderer(sounds, 60.0 * minutes, seed)(0, "single")
        count = len(mixture.waveform) // RATE
        frames = torch.zeros(1, 3, 2, 2).expand(count, 3, 2, 2)
        times = torch.arange(count, dtype=torch.float64)
        yield seed, Clip(frames, torch.from_numpy(mixture.waveform), RATE, times), mixture


if __name__ == "__main__":
    main()
