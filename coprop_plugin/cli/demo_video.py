"""The work of `coprop demo`: segment a video with the model that ships, and draw the result."""

from pathlib import Path

from coprop_plugin import media
from coprop_plugin.errors import MediaError
from coprop_plugin.pipeline.wrap import wrap
from coprop_plugin.report import film_strip, write_report
from coprop_plugin.types import ControlPoints, SegmentationResult
from coprop_plugin.world.filmed_photographs import filmed_photographs

_LONGEST_S = 120.0
_FILMED = (
    "Filmed three photographs with a moving camera: a cat that purrs from 1 to 4 s, a cup that",
    "makes no sound, from 7 s on a rocket that roars from 8.5 to 12 s.",
    "",
)


def run_demo(
    folder: str | Path,
    video: Path | None = None,
    *,
    fps: float = 4.0,
    tiny: bool = False,
    progress: bool = False,
) -> str:
    """Segment a video with `sounding_object`, and draw the result.

    Args:
        folder: Output folder; made if it does not exist.
        video: The video, with sound; None to make `photographs.mp4` in the folder.
        fps: Frames a second to segment.
        tiny: Whether to make it small and short.
        progress: Whether to show a progress bar on stderr.

    Returns:
        A summary for the user: what was found, and the files to open.

    Raises:
        MediaError: If the video cannot be read or is longer than two minutes, or the folder cannot
            be written.
    """
    folder = Path(folder)
    if video is None:
        folder.mkdir(parents=True, exist_ok=True)
        size, pace = ((128, 192), 2.0) if tiny else ((320, 480), 1.0)
        clip = filmed_photographs(size, fps=25, pace=pace)
        told, source = list(_FILMED), media.write_clip(clip, folder / "photographs.mp4")
    else:
        _refuse_long(video)
        told, source = [], video
    result = wrap("sounding_object").segment(source, fps=fps, progress=progress)
    result.save(folder / "result")
    strip = film_strip(result, folder / "film_strip.png")
    write_report(folder / "result", video=source)
    return "\n".join((*told, *_found(result, fps), "", *files_to_open(folder, strip)))


def files_to_open(folder: Path, strip: Path) -> list[str]:
    """Return the lines that name the files of a demo."""
    return [
        "Open:",
        f"  {folder / 'result' / 'report.html'}  everything on one page, in a browser",
        f"  {folder / 'result' / 'overlay.mp4'}  the video with masks and sound",
        f"  {strip}  frames, sound and control points in one image",
        f"  {folder / 'result' / 'masks'}  one PNG per frame, 0 where nothing sounds",
    ]


def seconds_of(result: SegmentationResult, points: ControlPoints) -> str:
    """Return control points as times, e.g. "0.00, 1.25 s"."""
    return ", ".join(f"{result.times[i]:.2f}" for i in points.indices) + " s"


def _refuse_long(video: Path) -> None:
    duration_s = media.probe(video, decode=False).duration_s
    if duration_s > _LONGEST_S:
        raise MediaError(
            f"Expected a video of up to {_LONGEST_S:g} s, got {video} with {duration_s:.0f} s. "
            f"Run `coprop run {video} -o out --report`, which takes any length."
        )


def _found(result: SegmentationResult, fps: float) -> list[str]:
    frames = result.frame_results
    runs = sum(f.is_keyframe and not result.control_points.is_silent(f.index) for f in frames)
    marked = sum(bool(frame.mask.any()) for frame in frames)
    waveform = result.clip.waveform
    if waveform is None or not waveform.any():
        return [f"Nothing is marked in {len(frames)} frames: the video has no sound."]
    return [
        f"Read it at {fps:g} frames a second, and marked what stands out while there is sound:",
        f"  control points, found in the audio: {seconds_of(result, result.control_points)}",
        f"  model run on {runs} of {len(frames)} frames, its masks propagated to the others",
        f"  something is marked in {marked} of {len(frames)} frames",
    ]
