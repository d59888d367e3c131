"""Video files written picture by picture, with audio, each at its own time."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import cast

import av
import numpy as np
from torch import Tensor

from coprop_plugin.media.folders import writing
from coprop_plugin.media.planes import TAGS, Matrix, Planes, usual_matrix
from coprop_plugin.media.video_formats import MP4, VideoFormat
from coprop_plugin.types import Clip

# Samples per call of the encoder.
BLOCK = 16_384


@dataclass(frozen=True)
class EncodedAudio:
    """Audio that `VideoWriter` encodes.

    Args:
        blocks: `[channels, samples]` float32, consecutive from time 0 on.
        sample_rate: In Hz.
        layout: FFmpeg's name of the channel layout.
    """

    blocks: Iterable[np.ndarray]
    sample_rate: int
    layout: str = "mono"


@dataclass(frozen=True)
class CopiedAudio:
    """Audio packets that `VideoWriter` copies.

    Args:
        stream: A stream of another open container.
        packets: Its packets, with the time stamps of the new file.
    """

    stream: av.AudioStream
    packets: Iterable[av.Packet]


class VideoWriter:
    """A video file written picture by picture, with interleaved audio.

    If the format requires even sizes (4:2:0, the only H.264 that plays everywhere), pictures are
    padded by repeating the last row and column. The file gets its name when it is complete.

    Args:
        path: Where to write; an existing file is replaced.
        video_format: Container and codecs.
        audio: Encoded or copied; None for a video without audio.

    Attributes:
        pixel_aspect: Width over height of a pixel; set it before the first picture.

    Raises:
        MediaError: If the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        video_format: VideoFormat = MP4,
        *,
        audio: EncodedAudio | CopiedAudio | None = None,
    ) -> None:
        self.path, self.video_format = Path(path), video_format
        partial = f".{self.path.stem}.{os.getpid()}.part{video_format.suffix}"
        self._partial = self.path.with_name(partial)
        self._audio = audio
        self.pixel_aspect: Fraction | None = None
        self._lengths: dict[int, int] = {}
        self._matrix: Matrix = "ITU601"
        self._video: av.VideoStream | None = None

    def __enter__(self) -> "VideoWriter":
        with writing(self.path):
            self._partial.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self._partial), "w", format=self.video_format.container)
        return self

    def add(self, picture: np.ndarray | Planes, time_s: float, length_s: float) -> None:
        """Show a picture from `time_s` on for `length_s` seconds.

        It is `[H, W, 3]` uint8; `[H, W, 4]`, with its opacity, if the format has alpha; or
        `Planes`, which are encoded as they are if the format is 4:2:0.
        """
        with writing(self.path):
            if self._video is None:
                self._video = self._begin(picture)
            self._mux_audio_until(time_s)
            frame = self._frame_of(picture)
            clock = self.video_format.clock
            frame.pts = stamp = round(time_s / clock)
            frame.time_base = clock
            self._lengths[stamp] = max(1, round(length_s / clock))
            self._mux_video(self._video, frame)

    def _frame_of(self, picture: np.ndarray | Planes) -> av.VideoFrame:
        if isinstance(picture, Planes):
            frame, matrix = picture.frame, picture.matrix
        else:
            layout, matrix = "rgba" if self.video_format.has_alpha else "rgb24", None
            # Without a copy, as converting the colours makes one.
            frame = av.VideoFrame.from_numpy_buffer(self._padded(picture), format=layout)
        width = self._width_of(frame.width)
        wanted = (self._matrix, self.video_format.pixels, width)
        if (matrix, frame.format.name, frame.width) == wanted:
            return frame
        return frame.reformat(
            width=width,
            format=self.video_format.pixels,
            src_colorspace=matrix,
            dst_colorspace=self._matrix,
            dst_color_range="MPEG",
            threads=1,
        )

    def _width_of(self, stored: int) -> int:
        """Return the width to encode pictures of this width at."""
        if not self.video_format.square or self.pixel_aspect is None:
            return stored
        return max(2, 2 * round(stored * self.pixel_aspect / 2))

    def _padded(self, picture: np.ndarray) -> np.ndarray:
        return pad_to_even(picture) if self.video_format.even else np.ascontiguousarray(picture)

    def _begin(self, picture: np.ndarray | Planes) -> av.VideoStream:
        if isinstance(picture, Planes):
            (height, width), self._matrix = picture.size, picture.matrix
        else:
            height, width = self._padded(picture).shape[:2]
            self._matrix = usual_matrix(height)
        # The rate is a hint for players; the time stamps say when.
        video = cast(av.VideoStream, self._container.add_stream(self.video_format.codec, rate=30))
        video.width, video.height = self._width_of(width), height
        video.pix_fmt = self.video_format.pixels
        video.codec_context.time_base = self.video_format.clock
        video.codec_context.options = dict(self.video_format.options)
        tag = TAGS[self._matrix]
        video.codec_context.colorspace = tag
        video.codec_context.color_primaries = tag
        video.codec_context.color_trc = tag
        video.codec_context.color_range = 1
        if self.pixel_aspect is not None and not self.video_format.square:
            video.codec_context.sample_aspect_ratio = self.pixel_aspect
        self._pending = self._audio_packets()
        self._next_packet = next(self._pending, None)
        return video

    def _mux_video(self, video: av.VideoStream, frame: av.VideoFrame | None) -> None:
        clock = self.video_format.clock
        for packet in video.encode(frame):
            # The encoder drops the frames' lengths; without this the last one has none.
            length = 0
            if packet.pts is not None:
                length = self._lengths.pop(round(packet.pts * packet.time_base / clock), 0)
            packet.duration = round(length * clock / packet.time_base)
            self._container.mux(packet)

    def _mux_audio_until(self, time_s: float) -> None:
        # Interleaved here, or the muxer would buffer one stream while it waits for the other.
        while self._next_packet is not None:
            stamp = self._next_packet.pts
            if stamp is not None and float(stamp * self._next_packet.time_base) > time_s:
                return
            self._container.mux(self._next_packet)
            self._next_packet = next(self._pending, None)

    def _audio_packets(self) -> Iterator[av.Packet]:
        """Add the audio stream, if any, and yield its packets."""
        if isinstance(self._audio, CopiedAudio):
            return _restamped(
                self._audio.packets, self._container.add_stream_from_template(self._audio.stream)
            )
        if self._audio is None:
            return iter(())
        rate = self.video_format.rate_for(self._audio.sample_rate)
        stream = cast(
            av.AudioStream,
            self._container.add_stream(
                self.video_format.sound, rate=rate, layout=self._audio.layout
            ),
        )
        stream.codec_context.bit_rate = 96_000 * stream.layout.nb_channels
        return _encoded(self._audio, stream, rate)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            with writing(self.path):
                if exc_type is None and self._video is not None:
                    self._mux_audio_until(float("inf"))
                    self._mux_video(self._video, None)
                self._container.close()
                if exc_type is None:
                    os.replace(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)


def _encoded(audio: EncodedAudio, stream: av.AudioStream, rate: int) -> Iterator[av.Packet]:
    resampler = av.AudioResampler(
        format=stream.codec_context.format.name, layout=audio.layout, rate=rate
    )
    position = 0
    for samples in audio.blocks:
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples, np.float32), format="fltp", layout=audio.layout
        )
        frame.sample_rate = audio.sample_rate
        frame.time_base = Fraction(1, audio.sample_rate)
        frame.pts = position
        position += samples.shape[1]
        for resampled in resampler.resample(frame):
            yield from stream.encode(resampled)
    for resampled in resampler.resample(None):
        yield from stream.encode(resampled)
    yield from stream.encode(None)


def _restamped(packets: Iterable[av.Packet], stream: av.AudioStream) -> Iterator[av.Packet]:
    for packet in packets:
        packet.stream = stream
        yield packet


def pad_to_even(picture: np.ndarray) -> np.ndarray:
    """Repeat the last row and column of `[H, W, ...]` where the size is odd."""
    height, width = picture.shape[:2]
    if not (height % 2 or width % 2):
        return picture
    padding = [(0, height % 2), (0, width % 2), *[(0, 0)] * (picture.ndim - 2)]
    return np.pad(picture, padding, mode="edge")


def audio_of(clip: Clip) -> EncodedAudio | None:
    """Return the waveform of a clip as audio to encode; None if it has none."""
    return None if clip.waveform is None else mono_audio(clip.waveform, clip.sample_rate)


def mono_audio(waveform: Tensor, sample_rate: int) -> EncodedAudio:
    """Return a waveform `[samples]` as audio to encode."""
    return EncodedAudio(_blocks(waveform), sample_rate)


def _blocks(waveform: Tensor) -> Iterator[np.ndarray]:
    for start in range(0, len(waveform), BLOCK):
        yield waveform[None, start : start + BLOCK].cpu().numpy()


def shown_times(clip: Clip) -> list[tuple[float, float]]:
    """Return the start and the length in seconds for which to show each frame of a clip.

    A frame is shown for the span it stands for; the first one from 0 on, where the audio begins.
    """
    spans = clip.spans.clone()
    spans[0, 0] = 0.0
    return [(start, end - start) for start, end in spans.tolist()]


def write_clip(clip: Clip, path: str | Path) -> Path:
    """Write a clip as an mp4 with audio (H.264, AAC), readable with `read_clip`.

    Compression is lossy; an odd size grows by one pixel. Time stamps are rounded to 1/90000 s, and
    the audio keeps its position. A first frame that is not at time 0 is shown from 0 on.

    Args:
        clip: What to write; without a waveform the file has no audio track.
        path: Where; an existing file is replaced when the new one is complete.

    Returns:
        The path.

    Raises:
        MediaError: If the file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> clip = Clip(torch.rand(4, 3, 32, 48), torch.zeros(16_000), 16_000)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_clip(clip, Path(folder) / "clip.mp4").name
        'clip.mp4'
    """
    with VideoWriter(path, audio=audio_of(clip)) as writer:
        for index, (start_s, length_s) in enumerate(shown_times(clip)):
            writer.add(picture_of(clip.frames[index]), start_s, length_s)
    return Path(path)


def picture_of(frame: Tensor) -> np.ndarray:
    """Return a frame `[3, H, W]`, uint8 or float in [0, 1], as `[H, W, 3]` uint8."""
    if frame.is_floating_point():
        frame = (frame.clamp(0, 1) * 255).round().byte()
    return np.ascontiguousarray(frame.permute(1, 2, 0).cpu().numpy())
