"""Media files as FFmpeg sees them: opened safely, read to where they break off."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import av

from coprop_plugin.errors import MediaError
from coprop_plugin.limits import DURATION_S

# Forms that name other files, which would then be read in a stranger's place.
_REACHING_OUT = frozenset(
    "applehttp concat concatf dash hls imf lavfi rtp rtp_mpegts rtsp sap sdp tty "
    "webm_dash_manifest".split()
)


class MediaWarning(UserWarning):
    """A file that can be read, but not as it was meant: damaged, cut off, silent, out of phase."""


@contextmanager
def open_container(path: str | Path) -> Iterator[av.container.InputContainer]:
    """Open a media file, local and regular, for reading.

    Raises:
        MediaError: If there is no such file, it is empty, may not be read, or is no video or
            sound.
    """
    path = Path(path)
    _refuse_unreadable(path)
    try:
        # The absolute path keeps FFmpeg from taking a name like "a:b.mp4" for a protocol, and the
        # lists keep a playlist that poses as a video from reaching for other files or the network.
        container = av.open(
            os.path.abspath(path),
            metadata_errors="replace",
            options={"protocol_whitelist": "file", "format_whitelist": _self_contained()},
        )
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(
            f"{path} cannot be opened as video or sound ({_reason(error)}): it is something else "
            "with that name, or it was cut off before its index was written. Check that it plays; "
            "download, copy or export it again."
        ) from error
    with container:
        if container.format.name.endswith("_pipe") or container.format.name == "image2":
            raise MediaError(
                f"{path} is a single picture, not a video with sound. For pictures and sound that "
                "you have in memory use Clip(frames, waveform, sample_rate)."
            )
        yield container


@cache
def _self_contained() -> str:
    return ",".join(sorted(av.formats_available - _REACHING_OUT))


def _refuse_unreadable(path: Path) -> None:
    if path.is_dir():
        raise MediaError(f"{path} is a folder; wanted a video file. Name the file inside it.")
    if not path.exists():
        raise MediaError(f"There is no file {path}. Check the name and the current folder.")
    if not path.is_file():
        raise MediaError(f"{path} is a device or a pipe; wanted a file. Save the stream first.")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise MediaError(
            f"{path} cannot be read ({_reason(error)}). Check who may read it."
        ) from error
    if empty:
        raise MediaError(
            f"{path} is empty (0 bytes), so it is not a video. Download or export it again."
        )


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def decoded(
    container: av.container.InputContainer, stream: av.stream.Stream, damage: Counter
) -> Iterator[av.frame.Frame]:
    """Decode a stream to its end; what cannot be read is counted in `damage["pieces"]`."""
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
    container: av.container.InputContainer, stream: av.stream.Stream, damage: Counter
) -> Iterator[av.Packet]:
    """Yield a stream's packets up to where the container breaks off, if it does."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.error.FFmpegError, IndexError):
            # IndexError: noise that looks like one more stream, which PyAV does not know.
            damage["pieces"] += 1
            return
        yield packet


def max_jump_s(container: av.container.InputContainer) -> float:
    """Return how far apart two time stamps may be before one of them must be wrong."""
    return min(max(60.0, (container.duration or 0) / av.time_base), DURATION_S.value)
