"""A waveform too long for memory: written to a temporary file, then used as a tensor."""

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.media.mapped_file import MappedFile

_ITEM = 4
_CHUNK = 1 << 20


class WaveformFile:
    """A waveform `[samples]` float32 in a `MappedFile`, silent where nothing is written.

    Args:
        length: In samples.

    Raises:
        MediaError: If the disk has no room.

    Example:
        >>> file = WaveformFile(100)
        >>> file.write(98, np.ones(4, np.float32))
        >>> waveform = file.tensor()
        >>> waveform.shape, waveform[97:].tolist()
        (torch.Size([100]), [0.0, 1.0, 1.0])
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._file = MappedFile(length * _ITEM, f"{length:,} audio samples")

    def write(self, position: int, samples: np.ndarray) -> None:
        """Write samples from index `position` on; samples outside the waveform are dropped.

        Raises:
            MediaError: If the disk has no room.
        """
        first, last = max(0, -position), max(0, self._length - position)
        self._file.write((position + first) * _ITEM, samples[first:last].astype(np.float32))

    def scale(self, factor: float, start: int = 0, stop: int | None = None) -> None:
        """Multiply the samples from `start` to `stop` by a factor, in bounded memory."""
        stop = self._length if stop is None else min(stop, self._length)
        for first in range(start, stop, _CHUNK):
            content = self._file.read(first * _ITEM, min(_CHUNK, stop - first) * _ITEM)
            samples = np.frombuffer(content, np.float32)
            self.write(first, samples * np.float32(factor))

    def tensor(self) -> Tensor:
        """Return the waveform; nothing can be written to the file after that."""
        return self._file.tensor(torch.float32)
