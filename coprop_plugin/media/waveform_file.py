"""A waveform too long for memory: written to a temporary file, then used as a tensor."""

import mmap
import tempfile

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.errors import MediaError

_ITEM = 4
_CHUNK = 1 << 20


class WaveformFile:
    """A waveform `[samples]` float32 in a temporary file, silent where nothing is written.

    The tensor of it is mapped: the system reads the parts of the file that are used and drops them
    when memory is short. The file has no name, or is deleted by the system, so that it goes with
    the last tensor that uses it, whatever ends the process. It lies where `TMPDIR` says.

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
        # Not `torch.from_file`, which needs a name: Windows does not delete a file that is mapped.
        self._file = tempfile.TemporaryFile(prefix="coprop-audio-")
        self._resize(length * _ITEM)

    def write(self, position: int, samples: np.ndarray) -> None:
        """Write samples from index `position` on; samples outside the waveform are dropped.

        Raises:
            MediaError: If the disk has no room.
        """
        first, last = max(0, -position), max(0, self._length - position)
        inside = np.ascontiguousarray(samples[first:last], np.float32)
        try:
            self._file.seek((position + first) * _ITEM)
            self._file.write(inside.data)
        except OSError as error:
            raise _no_room(self._length, error) from error

    def scale(self, factor: float, start: int = 0, stop: int | None = None) -> None:
        """Multiply the samples from `start` to `stop` by a factor, in bounded memory."""
        stop = self._length if stop is None else min(stop, self._length)
        for first in range(start, stop, _CHUNK):
            self._file.seek(first * _ITEM)
            content = self._file.read(min(_CHUNK, stop - first) * _ITEM)
            samples = np.frombuffer(content, np.float32)
            self.write(first, samples * np.float32(factor))

    def tensor(self) -> Tensor:
        """Return the waveform; nothing can be written to the file after that."""
        if self._length == 0:
            return torch.zeros(0, dtype=torch.float32)
        self._file.flush()
        # A private mapping: a change to the tensor goes to memory, not to the file.
        mapped = mmap.mmap(self._file.fileno(), self._length * _ITEM, access=mmap.ACCESS_COPY)
        self._file.close()
        return torch.frombuffer(mapped, dtype=torch.float32)

    def _resize(self, size: int) -> None:
        try:
            self._file.truncate(size)
        except OSError as error:
            raise _no_room(self._length, error) from error


def _no_room(length: int, error: OSError) -> MediaError:
    return MediaError(
        f"A temporary file for {length:,} audio samples cannot be written "
        f"({error.strerror or error}). Make room in {tempfile.gettempdir()}, or set TMPDIR to a "
        "folder on another disk."
    )
