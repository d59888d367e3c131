"""The main job on a made-up scene: write a video with sound, then segment that video."""

from dataclasses import dataclass
from pathlib import Path

import torch

from coprop_plugin import media
from coprop_plugin.benchmark.metrics import AlignmentScores, Outcome, mask_iou
from coprop_plugin.media.masks import write_masks
from coprop_plugin.pipeline.wrap import wrap
from coprop_plugin.report import film_strip, write_report
from coprop_plugin.types import ControlPoints, SegmentationResult
from coprop_plugin.world import KINDS, Scene

FPS = 8.0


def run_demo(
    folder: str | Path, *, seed: int = 11, tiny: bool = False, progress: bool = False
) -> str:
    """Render a scene to `made_up.mp4`, read it back, segment it, and say what to look at.

    Args:
        folder: Where to write; made if it is not there.
        seed: Which scene.
        tiny: Whether to make it small and short.
        progress: Whether to show a progress bar on stderr.

    Returns:
        What a person wants to know: what was made, how good it is, which files to open.

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
    return _says(scene, result, type(model.propagator).__name__, scores, folder, strip)


@dataclass(frozen=True)
class _Score:
    iou: float
    aligned: float
    asked: int


def _score(result: SegmentationResult, truth: torch.Tensor) -> _Score:
    masks = (result.masks > 0).long()
    alignment = AlignmentScores()
    alignment.update(Outcome(masks, truth))
    asked = [
        frame.index
        for frame in result.frame_results
        if frame.is_keyframe and not result.control_points.is_silent(frame.index)
    ]
    return _Score(mask_iou(masks.float(), truth), alignment.compute()["AR"], len(asked))


def _says(
    scene: Scene,
    result: SegmentationResult,
    carried_by: str,
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
        f"  {name + ':':17}mean IoU {score.iou:.3f}, in time {score.aligned:.0%}; "
        f"asked about {score.asked} of {len(result.times)} frames"
        for name, score in scores.items()
    )
    lines = [
        f"Made up a scene of {scene.duration_s:g} s, seed {scene.seed}. What sounds when:",
        *things,
        "",
        f"Wrote it as a video, read that back at {FPS:g} frames a second, and segmented it with a",
        f"small model that was trained on other scenes; masks carried by {carried_by}:",
        f"  control points, found by listening: {_seconds(result, result.control_points)}",
        f"  control points, true:               {_seconds(result, true_points)}",
        *table,
        "",
        "Open:",
        f"  {folder / 'result' / 'report.html'}  all of it on one page, in a browser",
        f"  {folder / 'result' / 'overlay.mp4'}  the video with masks and sound",
        f"  {strip}  frames, sound and control points in one picture",
        f"  {folder / 'result' / 'masks'}  one PNG a frame, 0 where nothing sounds",
    ]
    return "\n".join(lines)


def _seconds(result: SegmentationResult, points: ControlPoints) -> str:
    return ", ".join(f"{result.times[i]:.2f}" for i in points.indices) + " s"
