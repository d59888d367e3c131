"""The audio of a file as one channel, aligned with its pictures."""

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from coprop_plugin.errors import MediaError
from coprop_plugin.limits import DURATION_S, SAMPLE_RATE
from coprop_plugin.media.choose_tracks import choose_audio
from coprop_plugin.media.container import MediaWarning, decoded, max_jump_s, open_container
from coprop_plugin.media.frame_folder import FrameFolder
from coprop_plugin.media.stream_clock import StreamClock
from coprop_plugin.media.video_source import VideoSource
from coprop_plugin.media.waveform_file import WaveformFile
from coprop_plugin.types import DEFAULT_TRACKS, Tracks

# Sample rate of a clip without audio: that of the models.
SILENCE_RATE = 16_000

# Containers round time stamps (Matroska to 1 ms); a smaller jump is not a gap.
GAP_S = 0.02

# Audio that goes back further was joined from several files: it follows what is before.
OVERLAP_S = 0.1


def read_waveform(
    path: str | Path,
    *,
    start_s: float | None = None,
    duration_s: float | None = None,
    in_memory: float = math.inf,
    tracks: Tracks = DEFAULT_TRACKS,
) -> tuple[Tensor, int]:
    """Read the audio of a video or audio file as one channel, at the file's own rate.

    Sample 0 belongs to the first picture: audio that starts later is preceded by silence, audio
    that starts earlier is cut. The channels are averaged, as in VGGish's own front end, with two
    exceptions: of more than two channels, silent ones are left out (so audio in the centre channel
    keeps its level), and channels that cancel one another out (right is minus left) are replaced
    by the loudest of them, with a warning. Of several tracks the one is read that players choose;
    where the sample rate changes within it, all of it has the highest one.

    Args:
        path: Any file that FFmpeg reads.
        start_s: The container's own time of sample 0; by default that of the first picture, or in
            a file without video that of the first sample.
        duration_s: Length in seconds: later audio is cut, missing audio is silence. By default
            the length of the audio.
        in_memory: With `duration_s`, the largest number of samples kept in memory; a longer
            waveform is written to a temporary file.
        tracks: Which track to read.

    Returns:
        `[samples]` float32 and the sample rate in Hz. A file without audio gives silence at 16
        kHz, with a `MediaWarning`; samples that are NaN or infinite become 0, also with a warning.

    Raises:
        MediaError: If the file cannot be opened, has neither audio nor video, or exceeds
            `limits.DURATION_S` or `limits.SAMPLE_RATE`.

    Example:
        >>> waveform, sample_rate = read_waveform("street.mp4")  # doctest: +SKIP
    """
    path = Path(path)
    if path.is_dir():
        tracks = FrameFolder(path, tracks.frame_rate or 1.0, tracks).tracks
        if tracks.sound is None:
            return _silence(path, duration_s, in_memory, "has no audio file in or beside it")
    if tracks.sound is not None:
        path, start_s = tracks.sound, None
    with open_container(path) as container:
        num_tracks = len(container.streams.audio)
        has_video = bool(container.streams.video)
    if not num_tracks:
        return _silence(path, duration_s, in_memory, "has no audio track")
    if start_s is None and has_video and tracks.sound is None:
        start_s = _first_picture_s(path, tracks)
    track = _Track(path, start_s, duration_s, in_memory, tracks).read()
    if track.sample_rate is None:
        why = "has an audio track, but none of it can be decoded"
        return _silence(path, duration_s, in_memory, why)
    if track.highest_rate > track.sample_rate:
        track = replace(track, sample_rate=track.highest_rate).read()
    if loudest := track.cancelling():
        warnings.warn(
            f"{path}: the audio channels cancel one another out when they are averaged (one is "
            f"the negative of another). Using channel {max(loudest.values())} alone.",
            MediaWarning,
            stacklevel=2,
        )
        track = replace(track, chosen=loudest).read()
    if num_tracks > 1 and not any(energy.any() for energy in track.energy.values()):
        warnings.warn(
            f"{path}: the audio track that players choose is silent throughout, but there are "
            f"{num_tracks}. Choose another with `audio_track`, on the command line --audio-track.",
            MediaWarning,
            stacklevel=2,
        )
    # It is set as there are samples.
    assert track.sample_rate is not None
    return track.waveform(), track.sample_rate


def _first_picture_s(path: Path, tracks: Tracks) -> float | None:
    with VideoSource(path, tracks=tracks) as source:
        next(source.frames())
        return source.start_s


def _silence(
    path: Path, duration_s: float | None, in_memory: float, why: str
) -> tuple[Tensor, int]:
    if duration_s is None:
        raise MediaError(f"{path} {why}. Name a file with audio.")
    warnings.warn(
        f"{path} {why}. Continuing with silence: no object sounds in it.",
        MediaWarning,
        stacklevel=3,
    )
    length = round(duration_s * SILENCE_RATE)
    silence = torch.zeros(0 if length > in_memory else length, dtype=torch.float32)
    if length > in_memory:
        silence = WaveformFile(length).tensor()
    return silence, SILENCE_RATE


@dataclass(frozen=True)
class SoundBlock:
    """Some samples of an audio stream.

    Args:
        position: Index of the first sample, where 0 is the first picture; may be negative.
        samples: `[channels, samples]` float32.
        sample_rate: In Hz, the same for all blocks.
        own_rate: The sample rate in Hz that this part of the file has.
        layout: FFmpeg's name of the channel layout, e.g. `"stereo"`.
    """

    position: int
    samples: np.ndarray
    sample_rate: int
    own_rate: int
    layout: str

    @property
    def end(self) -> int:
        """Index after the last sample."""
        return self.position + self.samples.shape[1]


def sound_blocks(
    path: Path,
    start_s: float | None,
    damage: Counter[str],
    tracks: Tracks = DEFAULT_TRACKS,
    sample_rate: int | None = None,
) -> Iterator[SoundBlock]:
    """Decode the audio of a file block by block, each at the position of its time stamp.

    Blocks are consecutive unless the file has a gap. Pieces that cannot be decoded are left out
    and counted in `damage["pieces"]`; samples that are NaN or infinite become 0 and are counted in
    `damage["samples"]`.

    Args:
        path: The file.
        start_s: The container's own time of sample 0; None takes that of the first sample.
        damage: Is updated.
        tracks: Which stream to decode.
        sample_rate: Of the blocks, in Hz; None takes that of the first one.
    """
    if tracks.sound is not None:
        path, start_s = tracks.sound, None
    with open_container(path) as container:
        stream = choose_audio(container, path, tracks)
        if stream is None:
            return
        cursor = None
        clock = StreamClock(max_jump_s(container), OVERLAP_S)
        for frame, own_rate in _at_one_rate(decoded(container, stream, damage), path, sample_rate):
            rate = frame.sample_rate
            position = cursor or 0
            if frame.pts is not None and frame.time_base is not None:
                stamp_s = float(frame.pts * frame.time_base)
                start_s = stamp_s if start_s is None else start_s
                stamped = round(clock.time_of(stamp_s - start_s, position / rate) * rate)
                if cursor is None or abs(stamped - cursor) / rate > GAP_S:
                    position = stamped
            DURATION_S.check(position / rate, path, MediaError)
            samples = samples_of(frame)
            bad = ~np.isfinite(samples)
            damage["samples"] += int(bad.sum())
            samples = np.where(bad, np.float32(0), samples)
            yield SoundBlock(position, samples, rate, own_rate, frame.layout.name)
            cursor = position + samples.shape[1]


def _at_one_rate(
    frames: Iterator[av.AudioFrame], path: Path, sample_rate: int | None
) -> Iterator[tuple[av.AudioFrame, int]]:
    """Yield frames with one sample rate, and the rate that each had; its pieces are resampled."""
    resampler: av.AudioResampler | None = None
    kind: tuple[int, str, str] | None = None
    for frame in frames:
        SAMPLE_RATE.check(frame.sample_rate, path, MediaError)
        sample_rate = sample_rate or frame.sample_rate
        before, kind = kind, (frame.sample_rate, frame.layout.name, frame.format.name)
        if resampler is not None and before is not None and kind != before:
            yield from ((piece, before[0]) for piece in resampler.resample(None))
            resampler = None
        if frame.sample_rate == sample_rate:
            yield frame, sample_rate
            continue
        resampler = resampler or av.AudioResampler(format="fltp", rate=sample_rate)
        yield from ((piece, kind[0]) for piece in resampler.resample(frame))
    if resampler is not None and kind is not None:
        yield from ((piece, kind[0]) for piece in resampler.resample(None))


@dataclass
class _Track:
    """An audio stream, reduced to one channel while it is read.

    Channels may change in number within a stream; parts with as many are treated alike.

    Args:
        path: The file.
        start_s: As in `sound_blocks`.
        duration_s: As in `read_waveform`.
        in_memory: As in `read_waveform`.
        tracks: As in `sound_blocks`.
        sample_rate: In Hz; None takes that of the first block.
        chosen: The channel to use alone, by number of channels; others are averaged.
    """

    path: Path
    start_s: float | None
    duration_s: float | None
    in_memory: float = math.inf
    tracks: Tracks = DEFAULT_TRACKS
    sample_rate: int | None = None
    chosen: Mapping[int, int] = field(default_factory=dict)
    highest_rate: int = field(init=False, default=0)
    energy: dict[int, np.ndarray] = field(init=False, default_factory=dict)
    _mean_energy: Counter[int] = field(init=False, default_factory=Counter)
    _damage: Counter[str] = field(init=False, default_factory=Counter)
    _blocks: list[tuple[int, np.ndarray]] = field(init=False, default_factory=list)
    # First sample and number of channels of each part with another number of them.
    _parts: list[tuple[int, int]] = field(init=False, default_factory=list)
    _stored: WaveformFile | None = field(init=False, default=None)

    def read(self) -> "_Track":
        damage, rate = self._damage, self.sample_rate
        for block in sound_blocks(self.path, self.start_s, damage, self.tracks, rate):
            self.sample_rate = block.sample_rate
            if self.duration_s is not None and block.position > self.duration_s * self.sample_rate:
                break
            self.highest_rate = max(self.highest_rate, block.own_rate)
            if not self._parts or self._parts[-1][1] != len(block.samples):
                self._parts.append((block.position, len(block.samples)))
            self._keep(block.position, self._one_channel(block.samples))
        self._warn_of_damage()
        return self

    @property
    def length(self) -> int | None:
        """In samples; None without `duration_s`."""
        if self.duration_s is None or self.sample_rate is None:
            return None
        return round(self.duration_s * self.sample_rate)

    def _keep(self, position: int, samples: np.ndarray) -> None:
        if self.length is None or self.length <= self.in_memory:
            self._blocks.append((position, samples))
            return
        if self._stored is None:
            self._stored = WaveformFile(self.length)
        self._stored.write(position, samples)

    def _one_channel(self, samples: np.ndarray) -> np.ndarray:
        """Reduce `[channels, samples]` to one channel, and add up the energy of each channel."""
        count = len(samples)
        mono = samples[self.chosen[count]] if count in self.chosen else samples.mean(0)
        energy = np.square(samples, dtype=np.float64).sum(1)
        self.energy[count] = self.energy.get(count, 0.0) + energy
        self._mean_energy[count] += np.square(mono, dtype=np.float64).sum()
        return mono

    def cancelling(self) -> dict[int, int]:
        """Return the loudest channel by number of channels, of those that cancel one another out.

        Their mean is far quieter than that of uncorrelated channels would be.
        """
        return {
            count: int(energy.argmax())
            for count, energy in self.energy.items()
            if count not in self.chosen
            and self._mean_energy[count] < 0.05 * energy.sum() / count**2
        }

    def waveform(self) -> Tensor:
        """Return the waveform, scaled up where silent channels were part of the average."""
        waveform = None if self._stored is not None else self._joined()
        stops = [first for first, _ in self._parts[1:]]
        for (first, count), stop in zip_longest(self._parts, stops):
            scale = self._scale(count)
            if scale == 1.0:
                continue
            if waveform is not None:
                waveform[max(0, first) : stop] *= np.float32(scale)
            elif self._stored is not None:
                self._stored.scale(scale, max(0, first), stop)
        if self._stored is not None:
            return self._stored.tensor()
        return torch.from_numpy(waveform)

    def _scale(self, count: int) -> float:
        energy = self.energy[count]
        if count in self.chosen or count <= 2 or energy.max() == 0:
            return 1.0
        return count / int((energy > 1e-4 * energy.max()).sum())

    def _joined(self) -> np.ndarray:
        length = max((position + len(block) for position, block in self._blocks), default=0)
        if self.length is not None:
            length = self.length
        waveform = np.zeros(max(length, 0), np.float32)
        for position, block in self._blocks:
            first = max(0, -position)
            piece = waveform[max(0, position) : max(0, position + len(block))]
            piece[:] = block[first : first + len(piece)]
        return waveform

    def _warn_of_damage(self) -> None:
        if self._damage["samples"]:
            warnings.warn(
                f"{self.path}: {self._damage['samples']} audio samples are NaN or infinite and "
                "count as silence. Export the audio again to repair them.",
                MediaWarning,
                stacklevel=4,
            )
        if self._damage["pieces"] and self.energy:
            warnings.warn(
                f"{self.path}: part of the audio is damaged (pieces: {self._damage['pieces']}) and "
                "counts as silence. Download, copy or export the file again for the rest.",
                MediaWarning,
                stacklevel=4,
            )


def samples_of(frame: av.AudioFrame) -> np.ndarray:
    """Return the samples of a frame, `[channels, samples]` float32, integers scaled to [-1, 1)."""
    samples: np.ndarray = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(samples.dtype, np.integer):
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    return samples.astype(np.float32)
