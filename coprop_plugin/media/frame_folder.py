"""Folders of extracted frames, with their sound in another file, read as a video is."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps

from coprop_plugin.errors import MediaError
from coprop_plugin.media.container import MediaWarning, open_container, refuse_missing
from coprop_plugin.media.masks import open_image
from coprop_plugin.types import DEFAULT_TRACKS, Tracks

PICTURE_SUFFIXES = frozenset(".bmp .jpeg .jpg .png .ppm .tif .tiff .webp".split())
SOUND_SUFFIXES = (".wav", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".aac")


def frame_paths(folder: Path) -> list[Path]:
    """Return the pictures in a folder, or in `frames` inside it, by the numbers in their names."""
    for place in (folder, folder / "frames"):
        with suppress(OSError):
            found = [p for p in place.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES]
            if found := [p for p in found if not p.name.startswith(".")]:
                return sorted(found, key=_numbered)
    return []


def is_source(path: Path) -> bool:
    """Whether a path is a file, or a folder of frames."""
    return path.is_file() or bool(frame_paths(path))


def _numbered(path: Path) -> list[tuple[int, str]]:
    # Of "a10" the text "a" and the number 10, so that it comes after "a9".
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


class FrameFolder:
    """A `FrameSource` of pictures in files: frame k is shown from k / fps on.

    Args:
        path: A folder of pictures, or one with a folder `frames`; numbered.
        frame_rate: Frames per second.
        tracks: `sound` is the file of its audio; by default that in or beside the folder, see
            `find_sound`.
        paths: The pictures, in order; by default all of the folder.

    Raises:
        MediaError: If there are none.
    """

    def __init__(
        self,
        path: str | Path,
        frame_rate: float = 1.0,
        tracks: Tracks = DEFAULT_TRACKS,
        paths: Sequence[Path] | None = None,
    ) -> None:
        self.path, self.frame_rate = Path(path), frame_rate
        self.paths = frame_paths(self.path) if paths is None else list(paths)
        if not self.paths:
            raise MediaError(
                f"Expected a video file or a folder of frames, got the folder {path} without "
                "pictures. Name the file, or the folder that holds the frames."
            )
        if tracks.sound is None and paths is None:
            tracks = replace(tracks, sound=find_sound(self.path))
        self.tracks = replace(tracks, frame_rate=frame_rate)
        self.start_s, self.tick_s = 0.0, 1e-6
        self.num_frames = len(self.paths)
        self.end_s = self.num_frames / frame_rate
        self.is_regular = True
        self.pixel_aspect = Fraction(1)
        self._size: tuple[int, int] | None = None

    def __enter__(self) -> "FrameFolder":
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    @property
    def has_sound(self) -> bool:
        """Whether there is an audio file."""
        return self.tracks.sound is not None

    def frames(self, start: int = 0) -> Iterator[tuple[float, Path]]:
        """Yield the time in seconds of each frame from `start` on, and its file."""
        for k in range(start, self.num_frames):
            yield k / self.frame_rate, self.paths[k]

    def frames_with_lengths(self) -> Iterator[tuple[float, float, Path]]:
        """Yield the time and the length in seconds of each frame, and its file."""
        for time_s, path in self.frames():
            yield time_s, 1 / self.frame_rate, path

    def picture(self, frame: Path) -> np.ndarray:
        """Return a frame upright, `[H, W, 3]` uint8 RGB, fitted into the size of the first one.

        Raises:
            MediaError: If it cannot be read.
        """
        refuse_missing(frame)
        try:
            with open_image(frame) as image:
                picture = ImageOps.exif_transpose(image).convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise MediaError(
                f"{frame} cannot be read as an image ({error}). Extract the frames again."
            ) from error
        if self._size is None:
            self._size = picture.size
        if picture.size != self._size:
            picture = ImageOps.pad(picture, self._size)
        return np.array(picture)

    def warn_of_gaps(self) -> None:
        """Warn if frames seem to be missing, or the frame rate does not fit the sound."""
        numbers = [[n for n, _ in _numbered(p) if n >= 0][-1:] for p in self.paths]
        steps = {b[0] - a[0] for a, b in zip(numbers, numbers[1:], strict=False) if a and b}
        if len(steps) > 1:
            warnings.warn(
                f"{self.path}: the numbers of the frames rise by {min(steps)} to {max(steps)}, so "
                "some seem to be missing, and those after them would be early. Extract them again.",
                MediaWarning,
                stacklevel=3,
            )
        sound_s = self.end_s if self.tracks.sound is None else _length_s(self.tracks.sound)
        if sound_s is not None and not 0.5 <= self.end_s / max(sound_s, 1e-6) <= 2:
            warnings.warn(
                f"{self.path}: {self.num_frames} frames at {self.frame_rate:g} a second last "
                f"{self.end_s:.2f} s, but the audio {sound_s:.2f} s. Give the rate at which they "
                "were extracted (fps, --fps).",
                MediaWarning,
                stacklevel=3,
            )


def _length_s(sound: Path) -> float | None:
    with open_container(sound) as container:
        return None if container.duration is None else container.duration / av.time_base


def find_sound(folder: Path) -> Path | None:
    """Return the audio file that belongs to a folder of frames; None if there is none.

    The only one in the folder; `audio.wav` beside it, as in AVSS; a file of the folder's name
    beside it; or that of its name under `audio_wav` instead of `visual_frames`, as in S4 and MS3.

    Raises:
        MediaError: If there are several.
    """
    folder = folder.resolve()
    inside = sorted(p for p in folder.iterdir() if p.suffix.lower() in SOUND_SUFFIXES)
    if len(inside) > 1:
        raise MediaError(
            f"{folder} holds several audio files ({', '.join(p.name for p in inside[:4])}). Name "
            "that of the frames with `audio=`, on the command line --audio."
        )
    names = ["audio.wav", *(folder.name + suffix for suffix in SOUND_SUFFIXES)]
    beside = [folder.with_name(name) for name in names]
    found = [*inside, *(path for path in beside if path.is_file())]
    parts = folder.parts
    if not found and "visual_frames" in parts:
        at = len(parts) - 1 - parts[::-1].index("visual_frames")
        sounds = Path(*parts[:at], "audio_wav")
        rest = Path(*parts[at + 1 :])
        same = sounds / rest.with_name(f"{rest.name}.wav")
        found = [same] if same.is_file() else sorted(sounds.glob(f"*/{rest.name}.wav"))
    return found[0] if found else None
