"""The work of `coprop demo --world`: render a scene as a video, then segment that video."""

from dataclasses import dataclass
from pathlib import Path

import torch

from coprop_plugin import media
from coprop_plugin.benchmark.metrics import AlignmentScores, Outcome, mask_iou
from coprop_plugin.cli.demo_video import files_to_open, seconds_of
from coprop_plugin.media.masks import write_masks
from coprop_plugin.pipeline.wrap import wrap
from coprop_plugin.report import film_strip, write_report
from coprop_plugin.types import SegmentationResult
from coprop_plugin.world import KINDS, Scene

FPS = 8.0


def run_world_demo(
    folder: str | Path, *, seed: int = 11, tiny: bool = False, progress: bool = False
) -> str:
    """Render a scene to `made_up.mp4`, read it back, and segment it.

    Args:
        folder: Output folder; made if it does not exist.
        seed: Seed of the scene.
        tiny: Whether to make it small and short.
        progress: Whether to show a progress bar on stderr.

    Returns:
        A summary for the user: the scene, the scores, and the files to open.

    Raises:
        MediaError: If the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    size, duration_s = ((48, 64), 3.0) if tiny else ((360, 480), 10.0)
    scene = Scene.made_up(seed, duration_s=duration_s, size=size)
    video = media.write_clip(scene.clip(fps=25), folder / "made_up.mp4")

    model = wrap("keyframe_processor")
    result = model.segment(video, fps=FPS, progress=progress)
    result.save(folder / "result")

    truth = scene.truth(result.clip, ids="binary")
    strip = film_strip(result, folder / "film_strip.png", truth=truth)
    alone = model.segment_bare(result.clip)
    alone.save(folder / "result" / "bare", overlay=False)
    write_masks(truth.numpy(), folder / "truth")
    write_report(folder / "result", video=video, truth=folder / "truth")
    scores = {"Co-Prop": _score(result, truth), "the model alone": _score(alone, truth)}
    return _summary(scene, result, type(model.propagator).__name__, scores, folder, strip)


@dataclass(frozen=True)
class _Score:
    iou: float
    aligned: float
    model_runs: int


def _score(result: SegmentationResult, truth: torch.Tensor) -> _Score:
    masks = (result.masks > 0).long()
    alignment = AlignmentScores()
    alignment.update(Outcome(masks, truth))
    model_runs = sum(
        frame.is_keyframe and not result.control_points.is_silent(frame.index)
        for frame in result.frame_results
    )
    return _Score(mask_iou(masks.float(), truth), alignment.compute()["AR"], model_runs)


def _summary(
    scene: Scene,
    result: SegmentationResult,
    propagator: str,
    scores: dict[str, _Score],
    folder: Path,
    strip: Path,
) -> str:
    true_points = scene.control_points(result.clip)
    things = (
        f"  {KINDS[thing.kind].name}: "
        + (", ".join(f"{start:g}-{end:g} s" for start, end in thing.events) or "never")
        for thing in scene.objects
    )
    table = (
        f"  {name + ':':17}mean IoU {score.iou:.3f}, aligned {score.aligned:.0%}; "
        f"model run on {score.model_runs} of {len(result.times)} frames"
        for name, score in scores.items()
    )
    lines = [
        f"Rendered a scene of {scene.duration_s:g} s, seed {scene.seed}. Sounding objects:",
        *things,
        "",
        f"Wrote it as a video, read that at {FPS:g} frames a second, and segmented it with a small",
        f"model that was trained on other scenes; masks propagated by {propagator}:",
        f"  control points, found in the audio: {seconds_of(result, result.control_points)}",
        f"  control points, true:               {seconds_of(result, true_points)}",
        *table,
        "",
        *files_to_open(folder, strip),
    ]
    return "\n".join(lines)
