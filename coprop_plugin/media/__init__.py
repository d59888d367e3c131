"""Video and sound files to clips, and masks back to files.

Everything goes through PyAV (FFmpeg). `import coprop_plugin` does not import this package.
"""

from coprop_plugin.media.container import MediaWarning
from coprop_plugin.media.encode import write_clip
from coprop_plugin.media.folders import write_text
from coprop_plugin.media.overlay import paint, write_overlay
from coprop_plugin.media.read import VideoInfo, open_video, probe, read_clip
from coprop_plugin.media.results import (
    ResultWriter,
    picture_name,
    read_about,
    read_manifest,
    read_mask,
    save_result,
)
from coprop_plugin.media.sound import read_waveform

__all__ = [
    "MediaWarning",
    "ResultWriter",
    "VideoInfo",
    "open_video",
    "paint",
    "picture_name",
    "probe",
    "read_about",
    "read_clip",
    "read_manifest",
    "read_mask",
    "read_waveform",
    "save_result",
    "write_clip",
    "write_overlay",
    "write_text",
]
