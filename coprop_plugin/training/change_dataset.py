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
from coprop_plugin.training.mixture_variations import MixtureRows, varied
from coprop_plugin.training.sound_folder import RATE, SoundFolder
from coprop_plugin.training.sound_mixtures import (
    Layout,
    MixtureRenderer,
    Turn,
    merged_states,
)
from coprop_plugin.world.splits import Split

_KEPT = 1024
# Of mixtures that are varied, more are of one source: most false changes are within one.
_ADDED_SINGLES = 0.08
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
        repeats: How often each mixture is used. If more than once, each time varied: at random with
            another mixture added or following, with a source of steady noise, and through another
            microphone. Rendering a batch takes longer than a training step; varying it does not.

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
        self._turns: list[tuple[Turn, ...]] = [()] * _KEPT
        # One large tensor: many small ones that live long would fragment the memory.
        self._rows: Tensor | None = None
        self.render = MixtureRenderer(SoundFolder(folder, split, cache), seconds, seed)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if self.repeats == 1:
            return self._item(self._rendered(index))
        block, place = divmod(index, _KEPT * self.repeats)
        rng = np.random.default_rng([self.seed, index, 1])

        def draw() -> MixtureRows:
            return self._kept(block, int(rng.integers(_KEPT)))

        return self._item(varied(self._kept(block, place % _KEPT), draw, rng))

    def _kept(self, block: int, slot: int) -> MixtureRows:
        """Return a mixture of a block of `_KEPT`, rendered at first use."""
        number = block * _KEPT + slot
        if self._numbers[slot] != number:
            is_single = np.random.default_rng([self.seed, number, 2]).random() < _ADDED_SINGLES
            new = self._rendered(number, "single" if is_single else None)
            if self._rows is None:
                self._rows = new.rows.new_zeros(_KEPT, *new.rows.shape)
            self._rows[slot], self._turns[slot] = new.rows, new.turns
            self._numbers[slot] = number
        assert self._rows is not None
        return MixtureRows(self._rows[slot], self._turns[slot])

    def _rendered(self, index: int, layout: Layout | None = None) -> MixtureRows:
        mixture = self.render(index, layout)
        return MixtureRows(log_mel(torch.from_numpy(mixture.waveform), RATE), mixture.turns)

    def _item(self, mixture: MixtureRows) -> dict[str, Tensor]:
        states = merged_states(mixture.turns, self.render.seconds)
        change, state = targets(states, ceil(len(mixture.rows) / ROWS_PER_STEP))
        item = dict(
            log_mel=mixture.rows,
            change=torch.from_numpy(change),
            state=torch.from_numpy(state),
        )
        if self.with_boundaries:
            inner = [(second - FIRST_STEP_S) / STEP_S for second, _ in states[1:]]
            item["boundaries"] = torch.tensor(inner, dtype=torch.float64)
        return item


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
