"""AVSBench-Robust's protocol: every clip with its own sound, silence, noise, off-screen sound."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional

from coprop_plugin.audio.resample import resample
from coprop_plugin.benchmark.datasets import AVSDataset, Sample, Samples
from coprop_plugin.benchmark.datasets.sample import AudioCondition
from coprop_plugin.benchmark.robust.off_screen import OffScreen, off_screen_of
from coprop_plugin.errors import DatasetError
from coprop_plugin.media import read_waveform
from coprop_plugin.types import Clip, ControlPoints

CONDITIONS: tuple[AudioCondition, ...] = get_args(AudioCondition)
"""The clip's own sound first, then those that belong to nothing that it shows."""

FOLDERS: dict[AudioCondition, str] = {
    "noise": "audio_wav_noise",
    "off_screen": "audio_wav_misaligned",
}
"""The folders of AVSBench-Robust's files, in place of `audio_wav`."""

SILENT_FILE = "silent.wav"


class RobustSamples(Sequence[Sample]):
    """Clips under the four conditions of AVSBench-Robust (Li et al., arXiv:2502.00358).

    Silence is zeros; noise is white, uniform in [-1, 1]; an off-screen sound is the audio of a clip
    that shows other things, see `off_screen_of`, cut or padded with silence to the clip's length.
    The masks stay those of the clip's own sound in every condition, as in the authors' evaluation:
    there a high J of negative audio is a fault. The true control points become one segment.

    Args:
        samples: The clips.
        seed: Of noise and off-screen sounds; 42 is the authors'.
        folder: Files of AVSBench-Robust for these clips of S4 or MS3, made by its authors' script
            or `coprop robust`, instead of drawing them; only noise and off-screen sounds are read.

    Raises:
        DatasetError: If the set is too small, or files are given for other sets than S4 and MS3.

    Example:
        >>> from coprop_plugin.benchmark import WorldOptions, WorldSamples
        >>> scenes = WorldSamples(1, options=WorldOptions(size=(16, 16), num_frames=2))
        >>> [(sample.id, sample.audio) for sample in RobustSamples(scenes)][1]
        ('scene-2000 silence', 'silence')
    """

    def __init__(self, samples: Samples, seed: int = 42, folder: str | Path | None = None) -> None:
        self.samples, self.seed = samples, seed
        # Of the last clip, as its conditions are asked for one after the other.
        self._last: tuple[int, Sample] | None = None
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None and not isinstance(samples, AVSDataset):
            raise DatasetError(
                f"Expected a seed, as only S4 and MS3 have files of AVSBench-Robust, got {folder}."
            )
        if self.folder is not None and not self.folder.is_dir():
            raise DatasetError(f"{folder} is neither a seed nor a folder. Check the path.")

    @cached_property
    def off_screen(self) -> OffScreen:
        """The off-screen sounds."""
        return off_screen_of(self.samples, self.seed)

    @property
    def ids(self) -> list[str]:
        """Names of the clips, each in every condition."""
        ids = getattr(self.samples, "ids", None)
        names = [self.samples[i].id for i in range(len(self.samples))] if ids is None else ids
        return [_name(name, condition) for name in names for condition in CONDITIONS]

    def __len__(self) -> int:
        return len(self.samples) * len(CONDITIONS)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices
        """Return a clip in one condition.

        Raises:
            CopropError: If the clip, or the sound that it gets, cannot be read.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, place = divmod(index, len(CONDITIONS))
        sample, condition = self._sample(number), CONDITIONS[place]
        if condition == "original":
            return sample
        points = sample.control_points
        if points is not None:
            points = ControlPoints(torch.arange(sample.num_frames) == 0, points.source)
        return replace(
            sample,
            id=_name(sample.id, condition),
            clip=_with_waveform(sample.clip, self._waveform(number, sample, condition)),
            control_points=points,
            audio=condition,
        )

    def waveform(self, number: int, condition: AudioCondition) -> tuple[Tensor, int]:
        """Return the sound that a clip gets in one condition, and its sample rate."""
        sample = self._sample(number)
        return self._waveform(number, sample, condition), sample.clip.sample_rate

    def _sample(self, number: int) -> Sample:
        if self._last is None or self._last[0] != number:
            self._last = number, self.samples[number]
        return self._last[1]

    def _waveform(self, number: int, sample: Sample, condition: AudioCondition) -> Tensor:
        clip = sample.clip
        if clip.waveform is None:
            raise DatasetError(
                f"{sample.id} has no waveform that could be replaced. Read the data set with its "
                "audio files."
            )
        length, rate = len(clip.waveform), clip.sample_rate
        if condition == "silence":
            return torch.zeros(length)
        if self.folder is not None:
            found, found_rate = read_waveform(self.file(number, condition))
        elif condition == "noise":
            return _noise(length, self.seed, sample.id)
        else:
            found, found_rate = self.off_screen.waveform(number)
        found = resample(found, found_rate, rate)[:length]
        return functional.pad(found, (0, length - len(found)))

    def file(self, number: int, condition: AudioCondition) -> Path:
        """Return the file of AVSBench-Robust with a clip's noise or off-screen sound."""
        assert isinstance(self.samples, AVSDataset)
        assert self.folder is not None
        own = self.samples.wav_file(self.samples.rows[number]).relative_to(self.samples.root)
        parts = [FOLDERS[condition] if part == "audio_wav" else part for part in own.parts]
        return self.folder.joinpath(*parts)


def _name(clip: str, condition: AudioCondition) -> str:
    return clip if condition == "original" else f"{clip} {condition}"


def _noise(length: int, seed: int, name: str) -> Tensor:
    digest = hashlib.sha256(f"noise {seed} {name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.rand(length, generator=generator) * 2 - 1


def _with_waveform(clip: Clip, waveform: Tensor) -> Clip:
    """Return a clip with other audio; what was known of its own is dropped."""
    words = None if clip.words is None else ()
    return replace(clip, waveform=waveform, log_mel=None, audio_embedding=None, words=words)
