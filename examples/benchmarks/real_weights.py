"""A preset with its real weights on any folder of clips with masks.

    python examples/benchmarks/real_weights.py FOLDER --preset balanced

FOLDER holds videos and, for each of them, a folder of its name with the true masks: PNGs in order
of name, one a frame at `--fps`, 0 where nothing sounds, else any class numbers. `--masks` says
where else they are, e.g. `--masks '../gt/{name}/label_8fps' --fps 8`. Control points are true where
the set of class numbers changes. All classes count as one: the words are not those of the masks.

The first run downloads the preset's models (`coprop list presets`); `--words` shortens what is
listened for. Prints M_J, the Alignment Rate, the F1 of control points within one frame, and the
seconds of each clip (the first one loads the models), then those of all clips together.
"""

import argparse
import time
from pathlib import Path

import torch

import coprop_plugin as coprop
from coprop_plugin import media
from coprop_plugin.batch import chosen_backend, make_model
from coprop_plugin.benchmark.metrics import AlignmentScores, ControlPointScores, MaskScores, Outcome

VIDEOS = {".mp4", ".mkv", ".mov", ".webm", ".avi"}
COLUMNS = ("M_J", "AR", "F1", "seconds")


def truth_of(folder: Path, clip: coprop.Clip) -> torch.Tensor:
    """Read the true masks of a clip, `[T, H, W]` int64."""
    files = sorted(folder.glob("*.png"))
    if len(files) != clip.num_frames:
        raise SystemExit(
            f"Expected {clip.num_frames} masks in {folder}, one a frame, got {len(files)}. Choose "
            "their frame rate with --fps, or their place with --masks."
        )
    return torch.stack([torch.from_numpy(media.read_mask(file)).long() for file in files])


def points_of(truth: torch.Tensor) -> coprop.ControlPoints:
    """Return the frames at which the set of classes changes."""
    sets = [frozenset(mask.unique().tolist()) for mask in truth]
    flags = [t == 0 or sets[t] != sets[t - 1] for t in range(len(sets))]
    return coprop.ControlPoints(torch.tensor(flags))


def outcome_of(result: coprop.SegmentationResult, truth: torch.Tensor) -> Outcome:
    """Return a result beside its truth, all classes as one."""
    return Outcome(
        (result.masks > 0).long(),
        (truth > 0).long(),
        times=result.clip.times,
        control_points=result.control_points,
        true_control_points=points_of(truth),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--words", help="e.g. 'dog, violin'")
    parser.add_argument("--masks", default="{name}", help="beside the videos; {name} is theirs")
    parser.add_argument("--fps", type=float, default=1.0)
    parser.add_argument("--device")
    options = parser.parse_args()
    try:
        score(options)
    except (coprop.CopropError, OSError) as error:
        raise SystemExit(str(error)) from error


def score(options: argparse.Namespace) -> None:
    """Score the preset on every clip of the folder, and print a row for each."""
    videos = sorted(p for p in options.folder.iterdir() if p.suffix.lower() in VIDEOS)
    if not videos:
        raise SystemExit(f"Expected videos in {options.folder}, got none.")
    backend = chosen_backend(None, options.preset, options.words)
    model = make_model(backend, preset=options.preset, device=options.device)
    meters = MaskScores(), AlignmentScores(), ControlPointScores()
    took = []
    print(f"{'clip':24}", *(f"{name:>8}" for name in COLUMNS))
    for video in videos:
        clip = coprop.Clip.from_file(video, fps=options.fps)
        truth = truth_of(options.folder / options.masks.format(name=video.stem), clip)
        began = time.monotonic()
        outcome = outcome_of(model.segment(clip), truth)
        took.append(time.monotonic() - began)
        alone = MaskScores(), AlignmentScores(), ControlPointScores()
        for meter in (*meters, *alone):
            meter.update(outcome)
        print(line(video.stem, alone, took[-1]), flush=True)
    print(line("all", meters, sum(took) / len(took)))


def line(name: str, meters: tuple, seconds: float) -> str:
    """Return a row of the table."""
    scores = {key: value for meter in meters for key, value in meter.compute().items()}
    found = [scores["M_J"], scores["AR"], scores["F1@1"], seconds]
    shown = [f"{'-':>8}" if value is None else f"{value:8.3f}" for value in found]
    return " ".join([f"{name:24}", *shown])


if __name__ == "__main__":
    main()
