"""Pictures and sound into a video file, each at its time."""

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from torch import Tensor

from coprop_plugin.media.folders import writing
from coprop_plugin.media.video_formats import MP4, VideoFormat
from coprop_plugin.types import Clip

# Samples handed to the encoder at a time.
BLOCK = 16_384


class VideoWriter:
    """A video file that is written picture by picture, the sound alongside.

    Where a form has no odd sizes (4:2:0, the only one of H.264 that plays everywhere), pictures
    are padded by repeating the last row and column. `sound` blocks are encoded; `sound_copy`
    packets are written as they are. The file has its name only when it is complete.

    Args:
        path: Where to write; an older file is replaced.
        form: Container and codecs.
        sound: Blocks `[channels, samples]` float32 that follow one another from time 0 on.
        sample_rate: Of `sound`, in Hz.
        layout: Of `sound`, FFmpeg's name for its channels.
        sound_copy: A stream of another open container whose packets are copied.
        packets: Packets of `sound_copy`, stamped on this file's clock.

    Attributes:
        pixel_aspect: Width over height of a pixel; set it before the first picture.

    Raises:
        MediaError: If the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        form: VideoFormat = MP4,
        *,
        sound: Iterable[np.ndarray] | None = None,
        sample_rate: int = 16_000,
        layout: str = "mono",
        sound_copy: av.AudioStream | None = None,
        packets: Iterable[av.Packet] | None = None,
    ) -> None:
        self.path, self.form = Path(path), form
        partial = f".{self.path.stem}.{os.getpid()}.part{form.suffix}"
        self._partial = self.path.with_name(partial)
        self._sound = sound
        self._sample_rate = sample_rate
        self._layout = layout
        self._sound_copy = sound_copy
        self._packets = packets
        self.pixel_aspect: Fraction | None = None
        self._lengths: dict[int, int] = {}
        self._video: av.VideoStream | None = None

    def __enter__(self) -> "VideoWriter":
        with writing(self.path):
            self._partial.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self._partial), "w", format=self.form.container)
        return self

    def add(self, picture: np.ndarray, time_s: float, length_s: float) -> None:
        """Show a picture from `time_s` on for `length_s` seconds.

        It is `[H, W, 3]` uint8, with a fourth channel, its opacity, if the form has alpha.
        """
        with writing(self.path):
            if self._video is None:
                self._begin(picture)
            self._mux_sound_until(time_s)
            layout = "rgba" if self.form.has_alpha else "rgb24"
            frame = av.VideoFrame.from_ndarray(self._padded(picture), format=layout)
            frame = frame.reformat(
                format=self.form.pixels,
                dst_colorspace=self._colorspace,
                dst_color_range="MPEG",
                threads=1,
            )
            frame.pts = round(time_s / self.form.clock)
            frame.time_base = self.form.clock
            self._lengths[frame.pts] = max(1, round(length_s / self.form.clock))
            self._mux_video(frame)

    def _padded(self, picture: np.ndarray) -> np.ndarray:
        return pad_to_even(picture) if self.form.even else np.ascontiguousarray(picture)

    def _begin(self, picture: np.ndarray) -> None:
        height, width = self._padded(picture).shape[:2]
        # The rate is a hint for players; the time stamps say when.
        video = self._container.add_stream(self.form.codec, rate=30)
        video.width, video.height, video.pix_fmt = width, height, self.form.pixels
        video.codec_context.time_base = self.form.clock
        video.codec_context.options = dict(self.form.options)
        # Untagged colours are guessed by size: BT.709 from 720 lines on, BT.601 below.
        tag = 1 if height >= 720 else 6
        self._colorspace = "ITU709" if height >= 720 else "ITU601"
        video.codec_context.colorspace = tag
        video.codec_context.color_primaries = tag
        video.codec_context.color_trc = tag
        video.codec_context.color_range = 1
        if self.pixel_aspect is not None:
            video.codec_context.sample_aspect_ratio = self.pixel_aspect
        self._video = video
        if self._sound_copy is not None:
            self._audio = self._container.add_stream_from_template(self._sound_copy)
            self._pending = _restamped(self._packets, self._audio)
        elif self._sound is not None:
            rate = self.form.rate_for(self._sample_rate)
            self._audio = self._container.add_stream(
                self.form.sound, rate=rate, layout=self._layout
            )
            self._audio.codec_context.bit_rate = 96_000 * self._audio.layout.nb_channels
            self._pending = self._encoded_sound(rate)
        else:
            self._pending = iter(())
        self._next_packet = next(self._pending, None)

    def _mux_video(self, frame: av.VideoFrame | None) -> None:
        for packet in self._video.encode(frame):
            # The encoder forgets how long a frame lasts; for the last one nothing else tells.
            packet.duration = round(
                self._lengths.pop(packet.pts * packet.time_base / self.form.clock, 0)
                * self.form.clock
                / packet.time_base
            )
            self._container.mux(packet)

    def _mux_sound_until(self, time_s: float) -> None:
        # Interleaved by hand, or the muxer would hold one stream in memory to wait for the other.
        while self._next_packet is not None:
            stamp = self._next_packet.pts
            if stamp is not None and float(stamp * self._next_packet.time_base) > time_s:
                return
            self._container.mux(self._next_packet)
            self._next_packet = next(self._pending, None)

    def _encoded_sound(self, rate: int) -> Iterator[av.Packet]:
        layout = self._audio.codec_context.format.name
        resampler = av.AudioResampler(format=layout, layout=self._layout, rate=rate)
        position = 0
        for samples in self._sound:
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples, np.float32), format="fltp", layout=self._layout
            )
            frame.sample_rate = self._sample_rate
            frame.time_base = Fraction(1, self._sample_rate)
            frame.pts = position
            position += samples.shape[1]
            for resampled in resampler.resample(frame):
                yield from self._audio.encode(resampled)
        for resampled in resampler.resample(None):
            yield from self._audio.encode(resampled)
        yield from self._audio.encode(None)

    def __exit__(self, exc_type: type | None, *exc_info: object) -> None:
        try:
            with writing(self.path):
                if exc_type is None and self._video is not None:
                    self._mux_sound_until(float("inf"))
                    self._mux_video(None)
                self._container.close()
                if exc_type is None:
                    os.replace(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)


def _restamped(packets: Iterable[av.Packet], stream: av.AudioStream) -> Iterator[av.Packet]:
    for packet in packets:
        packet.stream = stream
        yield packet


def pad_to_even(picture: np.ndarray) -> np.ndarray:
    """Repeat the last row and column of `[H, W, ...]` where the size is odd."""
    height, width = picture.shape[:2]
    if not (height % 2 or width % 2):
        return picture
    room = [(0, height % 2), (0, width % 2), *[(0, 0)] * (picture.ndim - 2)]
    return np.pad(picture, room, mode="edge")


def blocks_of(waveform: Tensor) -> Iterator[np.ndarray]:
    """Cut a mono waveform `[samples]` into blocks `[1, n]` for `VideoWriter`."""
    samples = waveform.cpu().numpy()
    for start in range(0, len(samples), BLOCK):
        yield samples[None, start : start + BLOCK]


def shown_times(clip: Clip) -> list[tuple[float, float]]:
    """Return from when on and for how long to show each frame of a clip, in seconds.

    A frame is shown for the span it stands for; the first one from 0 on, where the sound begins.
    """
    spans = clip.spans.clone()
    spans[0, 0] = 0.0
    return [(start, end - start) for start, end in spans.tolist()]


def write_clip(clip: Clip, path: str | Path) -> Path:
    """Write a clip as an mp4 with sound (H.264, AAC) that `read_clip` gives back.

    Pictures and sound are compressed with loss; an odd size grows by one pixel. Time stamps are
    kept to 1/90000 s, and the sound comes back without a shift. A first frame that is not at
    time 0 is shown from 0 on.

    Args:
        clip: What to write; without a waveform the file has no sound.
        path: Where; an older file is replaced, and only when the new one is complete.

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
    sound = None if clip.waveform is None else blocks_of(clip.waveform)
    with VideoWriter(path, sound=sound, sample_rate=clip.sample_rate) as writer:
        for index, (start_s, length_s) in enumerate(shown_times(clip)):
            writer.add(picture_of(clip.frames[index]), start_s, length_s)
    return Path(path)


def picture_of(frame: Tensor) -> np.ndarray:
    """Return a frame `[3, H, W]`, uint8 or float in [0, 1], as `[H, W, 3]` uint8."""
    if frame.is_floating_point():
        frame = (frame.clamp(0, 1) * 255).round().byte()
    return np.ascontiguousarray(frame.permute(1, 2, 0).cpu().numpy())
