"""Clips of which only the audio is read, e.g. to find their control points."""

from dataclasses import dataclass
from pathlib import Path

import torch

from coprop_plugin import media
from coprop_plugin.pipeline.windows import read_audio
from coprop_plugin.types import DEFAULT_TRACKS, Clip, Sampling, Tracks


@dataclass(frozen=True)
class AudioItem:
    """A video file, or the audio file of a data set's clip.

    Args:
        name: Name of the clip.
        path: The file.
        fps: Frames a second of a video; None for all.
        sampling: As in `Clip.from_file`, for a video.
        tracks: Which tracks of a video to read.
        num_frames: Number of frames of a data set's clip, whose file holds audio alone; None for
            a video.
    """

    name: str
    path: Path
    fps: float | None = 1.0
    sampling: Sampling = "pts"
    tracks: Tracks = DEFAULT_TRACKS
    num_frames: int | None = None

    def clip(self) -> Clip:
        """Read the audio.

        Returns:
            A clip with audio and time stamps; its pictures are all zero and take no memory.

        Raises:
            MediaError: If the file cannot be read.
        """
        if self.num_frames is None:
            return read_audio(self.path, self.fps, self.sampling, tracks=self.tracks)
        waveform, sample_rate = media.read_waveform(self.path)
        no_pictures = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(self.num_frames, 3, 1, 1)
        return Clip(
            no_pictures,
            waveform,
            sample_rate,
            sampling="avsbench",
            source=self.path,
            name=self.name,
        )
