"""What a path names: a video file, or a folder of frames."""

from pathlib import Path

from coprop_plugin.media.frame_folder import FrameFolder
from coprop_plugin.media.frame_source import OpenSource
from coprop_plugin.media.video_source import VideoSource
from coprop_plugin.types import DEFAULT_TRACKS, Tracks


def open_source(
    path: str | Path,
    tracks: Tracks = DEFAULT_TRACKS,
    fps: float | None = None,
    *,
    quiet: bool = False,
) -> OpenSource:
    """Return the pictures of a path, to be used as a context manager.

    Args:
        path: A video file, or a folder of frames.
        tracks: Which tracks to use.
        fps: Frames per second of a folder; by default `tracks.frame_rate`, or 1.
        quiet: Whether to suppress warnings, because they were given before.

    Raises:
        MediaError: If it is neither.
    """
    if Path(path).is_dir():
        return FrameFolder(path, fps or tracks.frame_rate or 1.0, tracks)
    return VideoSource(path, quiet=quiet, tracks=tracks)
