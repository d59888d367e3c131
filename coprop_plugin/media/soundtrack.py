"""The audio of a file as one channel, aligned with its pictures."""

import math
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from coprop_plugin.errors import MediaError
from coprop_plugin.limits import DURATION_S, SAMPLE_RATE
from coprop_plugin.media.container import MediaWarning, decoded, max_jump_s, open_container
from coprop_plugin.media.video_source import VideoSource
from coprop_plugin.media.waveform_file import WaveformFile

# Sample rate of a clip without audio: that of the models.
SILENCE_RATE = 16_000

# Containers round time stamps (Matroska to 1 ms); a smaller jump is not a gap.
GAP_S = 0.02


def read_waveform(
    path: str | Path,
    *,
    start_s: float | None = None,
    duration_s: float | None = None,
    in_memory: float = math.inf,
) -> tuple[Tensor, int]:
    """Read the audio of a video or audio file as one channel, at the file's own rate.

    Sample 0 belongs to the first picture: audio that starts later is preceded by silence, audio
    that starts earlier is cut. The channels are averaged, as in VGGish's own front end, with two
    exceptions: of more than two channels, silent ones are left out (so audio in the centre channel
    keeps its level), and channels that cancel one another out (right is minus left) are replaced
    by the loudest of them, with a warning.

    Args:
        path: Any file that FFmpeg reads.
        start_s: The container's own time of sample 0; by default that of the first picture, or in
            a file without video that of the first sample.
        duration_s: Length in seconds: later audio is cut, missing audio is silence. By default
            the length of the audio.
        in_memory: With `duration_s`, the largest number of samples kept in memory; a longer
            waveform is written to a temporary file.

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
    with open_container(path) as container:
        has_sound = bool(container.streams.audio)
        has_video = bool(container.streams.video)
    if not has_sound:
        return _silence(path, duration_s, in_memory, "has no audio track")
    if start_s is None and has_video:
        start_s = _first_picture_s(path)
    track = _Track(path, start_s, duration_s, in_memory)
    track.read()
    if not track.energy.size:
        why = "has an audio track, but none of it can be decoded"
        return _silence(path, duration_s, in_memory, why)
    if track.cancels_out:
        loudest = int(track.energy.argmax())
        warnings.warn(
            f"{path}: the audio channels cancel one another out when they are averaged (one is "
            f"the negative of another). Using channel {loudest} alone.",
            MediaWarning,
            stacklevel=2,
        )
        track = _Track(path, start_s, duration_s, in_memory, channel=loudest)
        track.read()
    return track.waveform(), track.sample_rate


def _first_picture_s(path: Path) -> float | None:
    with VideoSource(path) as source:
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
    """Some samples of the first audio stream of a file.

    Args:
        position: Index of the first sample, where 0 is the first picture; may be negative.
        samples: `[channels, samples]` float32.
        sample_rate: In Hz.
        layout: FFmpeg's name of the channel layout, e.g. `"stereo"`.
    """

    position: int
    samples: np.ndarray
    sample_rate: int
    layout: str

    @property
    def end(self) -> int:
        """Index after the last sample."""
        return self.position + self.samples.shape[1]


def sound_blocks(path: Path, start_s: float | None, damage: Counter[str]) -> Iterator[SoundBlock]:
    """Decode the audio of a file block by block, each at the position of its time stamp.

    Blocks are consecutive unless the file has a gap. Pieces that cannot be decoded are left out
    and counted in `damage["pieces"]`; samples that are NaN or infinite become 0 and are counted in
    `damage["samples"]`.
    """
    with open_container(path) as container:
        cursor = None
        for frame in decoded(container, container.streams.audio[0], damage):
            SAMPLE_RATE.check(frame.sample_rate, path, MediaError)
            position = cursor or 0
            if frame.pts is not None and frame.time_base is not None:
                stamp_s = float(frame.pts * frame.time_base)
                start_s = stamp_s if start_s is None else start_s
                stamped = round((stamp_s - start_s) * frame.sample_rate)
                jump_s = 0.0 if cursor is None else abs(stamped - cursor) / frame.sample_rate
                if cursor is None or GAP_S < jump_s < max_jump_s(container):
                    position = stamped
            DURATION_S.check(position / frame.sample_rate, path, MediaError)
            samples = samples_of(frame)
            bad = ~np.isfinite(samples)
            damage["samples"] += int(bad.sum())
            samples = np.where(bad, np.float32(0), samples)
            yield SoundBlock(position, samples, frame.sample_rate, frame.layout.name)
            cursor = position + frame.samples


@dataclass
class _Track:
    """The first audio stream of a file, reduced to one channel while it is read."""

    path: Path
    start_s: float | None
    duration_s: float | None
    in_memory: float = math.inf
    channel: int | None = None
    sample_rate: int = 0
    energy: np.ndarray = field(default_factory=lambda: np.zeros(0))
    _mean_energy: float = 0.0
    _damage: Counter[str] = field(default_factory=Counter)
    _blocks: list[tuple[int, np.ndarray]] = field(default_factory=list)
    _stored: WaveformFile | None = None

    def read(self) -> None:
        for block in sound_blocks(self.path, self.start_s, self._damage):
            self.sample_rate = block.sample_rate
            if self.duration_s is not None and block.position > self.duration_s * self.sample_rate:
                break
            self._keep(block.position, self._one_channel(block.samples))
        self._warn_of_damage()

    def _keep(self, position: int, samples: np.ndarray) -> None:
        length = None if self.duration_s is None else round(self.duration_s * self.sample_rate)
        if length is None or length <= self.in_memory:
            self._blocks.append((position, samples))
            return
        if self._stored is None:
            self._stored = WaveformFile(length)
        self._stored.write(position, samples)

    def _one_channel(self, samples: np.ndarray) -> np.ndarray:
        """Reduce `[channels, samples]` to one channel, and add up the energy of each channel."""
        if len(self.energy) != len(samples):
            self.energy = np.zeros(len(samples))
        mono = samples.mean(0) if self.channel is None else samples[self.channel]
        self.energy += np.square(samples, dtype=np.float64).sum(1)
        self._mean_energy += float(np.square(mono, dtype=np.float64).sum())
        return mono

    @property
    def cancels_out(self) -> bool:
        """Whether the mean is far quieter than that of uncorrelated channels would be."""
        unrelated = self.energy.sum() / len(self.energy) ** 2
        return self.channel is None and self._mean_energy < 0.05 * unrelated

    def waveform(self) -> Tensor:
        """Return the waveform, scaled up if silent channels were part of the average."""
        scale = 1.0
        if self.channel is None and len(self.energy) > 2 and self.energy.max() > 0:
            num_loud = int((self.energy > 1e-4 * self.energy.max()).sum())
            scale = len(self.energy) / num_loud
        if self._stored is not None:
            if scale != 1.0:
                self._stored.scale(scale)
            return self._stored.tensor()
        return torch.from_numpy(self._joined() * np.float32(scale))

    def _joined(self) -> np.ndarray:
        length = max((position + len(block) for position, block in self._blocks), default=0)
        if self.duration_s is not None:
            length = round(self.duration_s * self.sample_rate)
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
        if self._damage["pieces"] and self.energy.size:
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
