"""Mixtures of recordings as items to train and test a change detector."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from coprop_plugin.audio.log_mel import log_mel
from coprop_plugin.control_points.listening.change_network import (
    FIRST_STEP_S,
    ROWS_PER_STEP,
    STEP_S,
)
from coprop_plugin.errors import DatasetError
from coprop_plugin.registry import DATASETS
from coprop_plugin.training.sound_folder import RATE, SoundFolder
from coprop_plugin.training.sound_mixtures import MixtureRenderer
from coprop_plugin.world.splits import Split

_KEPT = 512
_LOG_OFFSET = 0.01
# Steps next to a change count in part.
_SPREAD_STEPS = 1.0


@DATASETS.register_module()
class SoundMixtures(Dataset[dict[str, Tensor]]):
    """Mixtures of the recordings in a folder; each depends on seed and index only.

    An item is a mapping of `log_mel` `[rows, 64]`, and for each step of 40 ms `[T]`: `change`, 1 at
    a change of the set of sounding sources and less next to it; `state`, int64, equal where the set
    is equal, 0 where it is empty.

    Args:
        folder: Folder of recordings, see `SoundFolder`.
        split: "train", "val" or "test".
        length: Number of mixtures.
        seconds: Length of a mixture.
        seed: Seed of all mixtures.
        cache: As in `SoundFolder`.
        with_boundaries: Whether items also have `boundaries`: float64, the steps of the changes.
        repeats: How often each mixture is used, each time with another microphone. Rendering takes
            as long as a training step, so 4 saves more than a third of the time.

    Raises:
        DatasetError: If no folder is given, or the folder cannot be used; see `SoundFolder`.

    Example:
        >>> item = SoundMixtures("sounds", "val", length=4)[0]  # doctest: +SKIP
        >>> item["log_mel"].shape, item["state"].shape  # doctest: +SKIP
        (torch.Size([998, 64]), torch.Size([250]))
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        split: Split = "train",
        length: int = 1000,
        seconds: float = 10.0,
        seed: int = 0,
        cache: str | Path | None = None,
        with_boundaries: bool = False,
        repeats: int = 1,
    ) -> None:
        if folder is None:
            raise DatasetError(
                "Expected a folder of recordings, got none. Name one with `--sounds FOLDER`, or "
                "as `folder` in the config."
            )
        self.length, self.with_boundaries = length, with_boundaries
        self.seed, self.repeats = seed, repeats
        self._numbers = [-1] * _KEPT
        self._kept: dict[str, Tensor] = {}
        self.render = MixtureRenderer(SoundFolder(folder, split, cache), seconds, seed)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if self.repeats == 1:
            return self._rendered(index)
        block, place = divmod(index, _KEPT * self.repeats)
        number = block * _KEPT + place % _KEPT
        slot = place % _KEPT
        if self._numbers[slot] != number:
            self._keep(slot, self._rendered(number))
            self._numbers[slot] = number
        item = {name: rows[slot].clone() for name, rows in self._kept.items()}
        rng = np.random.default_rng([self.seed, index, 1])
        return {**item, "log_mel": through_microphone(item["log_mel"], rng)}

    def _keep(self, slot: int, item: dict[str, Tensor]) -> None:
        # One large tensor: many small ones that live long would fragment the memory.
        for name, value in item.items():
            if name not in self._kept:
                self._kept[name] = value.new_zeros(_KEPT, *value.shape)
            self._kept[name][slot] = value

    def _rendered(self, index: int) -> dict[str, Tensor]:
        mixture = self.render(index)
        rows = log_mel(torch.from_numpy(mixture.waveform), RATE)
        states = mixture.states()
        change, state = targets(states, ceil(len(rows) / ROWS_PER_STEP))
        item = dict(log_mel=rows, change=torch.from_numpy(change), state=torch.from_numpy(state))
        if self.with_boundaries:
            inner = [(second - FIRST_STEP_S) / STEP_S for second, _ in states[1:]]
            item["boundaries"] = torch.tensor(inner, dtype=torch.float64)
        return item


def through_microphone(rows: Tensor, rng: np.random.Generator) -> Tensor:
    """Return log-mels `[rows, 64]` as of another microphone: other frequency response and noise.

    Example:
        >>> through_microphone(torch.zeros(100, 64), np.random.default_rng(0)).shape
        torch.Size([100, 64])
    """
    mel = (rows.exp() - _LOG_OFFSET).clamp_min(0)
    bands = np.linspace(0, np.pi, rows.shape[-1])
    curve_db = np.sum([float(rng.normal(0, 2.5)) * np.cos(n * bands) for n in (1, 2, 3)], axis=0)
    mel = mel * torch.from_numpy(10 ** (curve_db / 20)).float()
    if rng.random() < 0.3:
        floor = float(mel.amax()) * 10 ** (-float(rng.uniform(30, 60)) / 20)
        grain = torch.from_numpy(rng.rayleigh(0.8, rows.shape).astype(np.float32))
        mel = torch.hypot(mel, floor * grain)
    return (mel + _LOG_OFFSET).log()


def targets(
    states: Sequence[tuple[float, frozenset[int]]], steps: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the targets of a network for each step.

    Args:
        states: See `Mixture.states`.
        steps: Number of steps of 40 ms.

    Returns:
        `change` and `state` of `SoundMixtures`.

    Example:
        >>> change, state = targets([(0.0, frozenset({1})), (0.0975, frozenset())], 4)
        >>> int(change.argmax()), state.tolist()
        (2, [1, 1, 0, 0])
    """
    change, state = np.zeros(steps, np.float32), np.zeros(steps, np.int64)
    numbers: dict[frozenset[int], int] = {frozenset(): 0}
    places = np.arange(steps)
    for second, active in states:
        at = (second - FIRST_STEP_S) / STEP_S
        if second > 0:
            near = np.exp(-((places - at) ** 2) / (2 * _SPREAD_STEPS**2))
            change = np.maximum(change, near.astype(np.float32))
        state[max(0, int(np.ceil(at - 1e-6))) :] = numbers.setdefault(active, len(numbers))
    change[change < 0.05] = 0
    return change, state
