"""Which tracks of a video file are used, where it has several."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Track = int | str
"""A track of a file: its number among those of its kind, 0 the first, or its language."""


@dataclass(frozen=True)
class Tracks:
    """The tracks of a file that make a clip.

    Args:
        video: The video track, e.g. `1`; None chooses as players do: not a cover, preview or
            sign-language track, then the file's default, then the largest picture.
        audio: The audio track, e.g. `"eng"`; None chooses as players do: one that can be decoded,
            not a commentary or a description for the blind, then the file's default, then most
            channels.
        sound: A file whose audio is used instead of the video's own; its first sample belongs to
            the first picture.
        frame_rate: Of a folder of frames, in frames per second.

    Example:
        >>> Tracks(audio="eng")
        Tracks(video=None, audio='eng', sound=None, frame_rate=None)
    """

    video: Track | None = None
    audio: Track | None = None
    sound: Path | None = None
    frame_rate: float | None = None

    def to_dict(self) -> dict[str, int | float | str | None]:
        """Return it as JSON types; see `of`."""
        sound = None if self.sound is None else str(self.sound.resolve())
        rate = {} if self.frame_rate is None else {"frame_rate": self.frame_rate}
        return {"video": self.video, "audio": self.audio, "sound": sound, **rate}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Tracks":
        """Return the tracks of `to_dict`."""
        sound = content.get("sound")
        video, audio = content.get("video"), content.get("audio")
        rate = content.get("frame_rate")
        return cls(video, audio, None if sound is None else Path(sound), rate)


DEFAULT_TRACKS = Tracks()
"""The tracks that players choose."""
