"""Video and sound files to clips, and masks back to files.

Everything goes through PyAV (FFmpeg). `import coprop_plugin` does not import this package.
"""

from coprop_plugin.media.encode import write_clip
from coprop_plugin.media.read import VideoInfo, open_video, probe, read_clip
from coprop_plugin.media.sound import read_waveform
from coprop_plugin.media.source import MediaWarning

__all__ = [
    "MediaWarning",
    "VideoInfo",
    "open_video",
    "probe",
    "read_clip",
    "read_waveform",
    "write_clip",
]
