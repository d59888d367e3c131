"""Safe opening and robust decoding of media files with FFmpeg."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import overload

import av
from av.container import InputContainer

from coprop_plugin.errors import CopropError, MediaError
from coprop_plugin.limits import DURATION_S

# Formats that refer to other files, which an untrusted file could make FFmpeg read.
_REFERRING_FORMATS = frozenset(
    "applehttp concat concatf dash hls imf lavfi rtp rtp_mpegts rtsp sap sdp tty "
    "webm_dash_manifest".split()
)

# "https://" is "https:/" in a path; a single letter is a drive of Windows.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/")


class MediaWarning(UserWarning):
    """A media file that is damaged, cut off, silent or out of phase, but can still be read."""


@contextmanager
def open_container(path: str | Path) -> Iterator[InputContainer]:
    """Open a local, regular media file for reading.

    Raises:
        MediaError: If the file does not exist, is empty, may not be read, or is not video or
            audio.
    """
    path = Path(path)
    _refuse_unreadable(path)
    try:
        # The absolute path keeps FFmpeg from taking a name like "a:b.mp4" for a protocol; the
        # lists keep a playlist disguised as a video from opening other files or the network.
        container = av.open(
            os.path.abspath(path),
            metadata_errors="replace",
            options={"protocol_whitelist": "file", "format_whitelist": _self_contained()},
        )
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(
            f"{path} cannot be opened as video or audio ({_reason(error)}). It is another kind of "
            "file, or was cut off before its index was written. Check that it plays; download, "
            "copy or export it again."
        ) from error
    with container:
        if container.format.name.endswith("_pipe") or container.format.name == "image2":
            if _is_animated_webp(path):
                raise MediaError(
                    f"{path} is an animated WebP, which FFmpeg cannot decode. Convert it to GIF or "
                    "mp4 first, or read its pictures with Pillow: `Clip.from_frames(frames, "
                    "fps=10)`."
                )
            raise MediaError(
                f"{path} is a single image, not a video with sound. For images and audio in memory "
                "use Clip(frames, waveform, sample_rate)."
            )
        yield container


def _is_animated_webp(path: Path) -> bool:
    with path.open("rb") as file:
        header = file.read(21)
    # The second bit of the flags of an extended file.
    return len(header) == 21 and header[8:16] == b"WEBPVP8X" and bool(header[20] & 2)


@cache
def _self_contained() -> str:
    return ",".join(sorted(av.formats_available - _REFERRING_FORMATS))


def _refuse_unreadable(path: Path) -> None:
    if path.is_dir():
        raise MediaError(f"Expected a video file, got the folder {path}. Name the file inside it.")
    refuse_missing(path)
    if not path.is_file():
        raise MediaError(
            f"Expected a regular file, got the device or pipe {path}. Save the stream first."
        )
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise MediaError(
            f"{path} cannot be read ({_reason(error)}). Check its permissions."
        ) from error
    if empty:
        raise MediaError(f"{path} is empty (0 bytes). Download or export it again.")


def refuse_missing(path: Path, what: str = "file", error: type[CopropError] = MediaError) -> None:
    """Refuse a path with nothing there.

    Args:
        path: A file or a folder.
        what: Which of them is expected, for the message.
        error: The class of the error to raise.

    Raises:
        CopropError: An `error`, if it does not exist, or is a link to something that does not.

    Example:
        >>> refuse_missing(Path("masks"), "folder")
        Traceback (most recent call last):
            ...
        coprop_plugin.errors.MediaError: The folder masks does not exist. Check the name and the \
current folder.
    """
    if path.exists():
        return
    if path.is_symlink():
        raise error(
            f"{path} is a link to {os.readlink(path)}, which does not exist. Restore that file, or "
            "name another."
        )
    if _ADDRESS.match(path.as_posix()):
        raise error(f"{path} is an address, not a {what} on this machine. Download it first.")
    raise error(f"The {what} {path} does not exist. Check the name and the current folder.")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


@overload
def decoded(
    container: InputContainer, stream: av.VideoStream, damage: Counter[str]
) -> Iterator[av.VideoFrame]: ...
@overload
def decoded(
    container: InputContainer, stream: av.AudioStream, damage: Counter[str]
) -> Iterator[av.AudioFrame]: ...
def decoded(
    container: InputContainer, stream: av.VideoStream | av.AudioStream, damage: Counter[str]
) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """Decode a stream to its end; undecodable pieces are counted in `damage["pieces"]`."""
    for packet in packets_of(container, stream, damage):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            damage["pieces"] += 1
            continue
        for frame in frames:
            damage["pieces"] += bool(frame.is_corrupt)
            yield frame


def packets_of(
    container: InputContainer, stream: av.stream.Stream, damage: Counter[str]
) -> Iterator[av.Packet]:
    """Yield a stream's packets up to the end, or to where the container is cut off."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.error.FFmpegError, IndexError):
            # IndexError: noise that looks like another stream, which PyAV does not know.
            damage["pieces"] += 1
            return
        yield packet


def max_jump_s(container: InputContainer) -> float:
    """Return the largest plausible distance in seconds between consecutive time stamps."""
    return min(max(60.0, (container.duration or 0) / av.time_base), DURATION_S.value)
