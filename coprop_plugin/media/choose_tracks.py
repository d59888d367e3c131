"""Choice of a video and an audio stream, as players choose, where a file has several."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

import av
from av.container import InputContainer
from av.stream import Disposition

from coprop_plugin.errors import MediaError
from coprop_plugin.media.container import open_container, packets_of
from coprop_plugin.types import DEFAULT_TRACKS, Track, Tracks

_log = logging.getLogger(__name__)

# Tracks that accompany the main one.
_SECONDARY = (
    Disposition.comment
    | Disposition.hearing_impaired
    | Disposition.visual_impaired
    | Disposition.karaoke
    | Disposition.clean_effects
    | Disposition.descriptions
    | Disposition.dependent
    | Disposition.still_image
    | Disposition.timed_thumbnails
)
# A picture of less than this share of the largest one's pixels is a preview, even if the file's
# default: programs mark the first track so, whatever it holds.
_PREVIEW = 1 / 16
# A track that gives nothing within so many packets cannot be decoded.
_PACKETS_TRIED = 64

StreamT = TypeVar("StreamT", av.VideoStream, av.AudioStream)


def choose_video(
    container: InputContainer, path: Path, wanted: Track | None = None
) -> av.VideoStream:
    """Return the video stream to use.

    Raises:
        MediaError: If there is none, or not the wanted one, or it cannot be decoded.
    """
    # The cover image of a song is also a video stream, marked as an attached picture.
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        sound = "only audio" if container.streams.audio else "and no audio"
        raise MediaError(
            f"{path} holds no video, {sound}. Name the video that belongs to it, or use "
            "Clip(frames, waveform, sample_rate)."
        )
    if wanted is None:
        preview = _PREVIEW * max(map(_pixels, streams))
        ranked = _ranked(streams, path, lambda s: (_pixels(s) >= preview, _rank(s), _pixels(s)))
    else:
        ranked = _ranked(_wanted(container.streams.video, wanted, path, "video"), path, _pixels)
    chosen = ranked[0]
    if chosen.codec_context is None:
        raise MediaError(
            f"{path} holds video in a codec that this build of FFmpeg cannot decode. Convert it to "
            "H.264 first."
        )
    if len(streams) > 1:
        _say(path, "video", _named(container.streams.video, chosen), len(streams))
    return chosen


def choose_audio(
    container: InputContainer, path: Path, tracks: Tracks = DEFAULT_TRACKS
) -> av.AudioStream | None:
    """Return the audio stream to use; None if the file has none.

    Raises:
        MediaError: If there is not the wanted one.
    """
    streams = container.streams.audio
    if tracks.audio is not None:
        ranked = _ranked(_wanted(streams, tracks.audio, path, "audio"), path, _channels)
    elif not streams:
        return None
    else:
        program = _program(container, path, tracks.video)
        ranked = _ranked(streams, path, lambda s: (s in program, _rank(s), _channels(s)))
    if len(streams) > 1:
        _say(path, "audio", _named(streams, ranked[0]), len(streams))
    return ranked[0]


def _ranked(
    streams: Sequence[StreamT], path: Path, score: Callable[[StreamT], object]
) -> list[StreamT]:
    """Sort streams, the best first; those that cannot be decoded come last."""
    # `sorted` is stable: of equal ones the first.
    ranked: list[StreamT] = sorted(streams, key=score, reverse=True)  # type: ignore[arg-type]
    if len(ranked) == 1:
        return ranked
    # Those that decode first; of them the order stays.
    return sorted(ranked, key=lambda s: not _decodes(path, s.index))


def _decodes(path: Path, index: int) -> bool:
    stat = path.stat()
    return _first_packets_decode(str(path), (stat.st_size, stat.st_mtime_ns), index)


@lru_cache(maxsize=256)
def _first_packets_decode(path: str, version: tuple[int, int], index: int) -> bool:
    with open_container(path) as container:
        stream = container.streams[index]
        if stream.codec_context is None or not isinstance(stream, av.VideoStream | av.AudioStream):
            return False
        for packet in islice(packets_of(container, stream, Counter()), _PACKETS_TRIED):
            with suppress(av.error.FFmpegError):
                if packet.decode():
                    return True
    return False


def _rank(stream: av.stream.Stream) -> tuple[bool, bool]:
    return (
        not stream.disposition & _SECONDARY,
        bool(stream.disposition & Disposition.default),
    )


def _pixels(stream: av.VideoStream) -> int:
    codec = stream.codec_context
    return 0 if codec is None else codec.width * codec.height


def _channels(stream: av.AudioStream) -> int:
    return 0 if stream.codec_context is None else stream.codec_context.channels


def _program(
    container: InputContainer, path: Path, video: Track | None
) -> Sequence[av.AudioStream]:
    """Return the audio streams that belong to the video: all, unless there are several programs."""
    streams = container.streams.audio
    if len(streams) < 2 or not container.streams.video:
        return streams
    related = {v.index: container.streams.best("audio", related=v) for v in container.streams.video}
    if len({None if s is None else s.index for s in related.values()}) == 1:
        return streams
    best = related[choose_video(container, path, video).index]
    return streams if best is None else [s for s in streams if s.index == best.index]


def _wanted(streams: Sequence[StreamT], wanted: Track, path: Path, kind: str) -> list[StreamT]:
    """Return the streams with a number or a language.

    Raises:
        MediaError: If there are none.
    """
    text = str(wanted).strip().lower()
    if text.isdigit():
        found = [s for number, s in enumerate(streams) if number == int(text)]
    else:
        languages = [(s.language or "").lower() for s in streams]
        exact = [s for s, language in zip(streams, languages, strict=True) if language == text]
        # "en" finds "eng", and the other way round.
        found = exact or [
            s
            for s, language in zip(streams, languages, strict=True)
            if language and text and (language.startswith(text) or text.startswith(language))
        ]
    if not found:
        have = ", ".join(_named(streams, s) for s in streams) or "none"
        raise MediaError(
            f"Expected the {kind} track {wanted!r} in {path}, got these: {have}. Give the number "
            "or the language of one of them, or none, to have it chosen."
        )
    return found


def _named(streams: Sequence[av.stream.Stream], stream: av.stream.Stream) -> str:
    """Describe a stream for people: `1 (eng, aac, 2 channels, default)`."""
    facts = [stream.language]
    if stream.codec_context is None:
        facts.append("unknown codec")
    elif isinstance(stream, av.VideoStream):
        codec = stream.codec_context
        facts += [codec.name, f"{codec.width}x{codec.height}"]
    elif isinstance(stream, av.AudioStream):
        facts += [stream.codec_context.name, f"{stream.codec_context.channels} channels"]
    facts += [d.name for d in Disposition if stream.disposition & d]
    number = [s.index for s in streams].index(stream.index)
    return f"{number} ({', '.join(fact for fact in facts if fact)})"


@lru_cache(maxsize=256)
def _say(path: Path, kind: str, chosen: str, count: int) -> None:
    """Log a choice; once, though a file is opened several times."""
    _log.info("%s: %s track %s of %d.", path, kind, chosen, count)
