"""Data too large for memory: written to a temporary file, then used as a tensor."""

import mmap
import tempfile
from collections.abc import Iterable
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.errors import MediaError

ROWS_IN_MEMORY = 2**25
"""Most bytes of stacked rows that are held in memory: 32 MB, 220 frames of 224 x 224."""


class MappedFile:
    """A temporary file, zero where nothing is written, that becomes a tensor.

    The tensor is mapped: the system reads the parts of the file that are used and drops them when
    memory is short. The file has no name, or is deleted by the system, so that it goes with the
    last tensor that uses it, whatever ends the process. It lies where `TMPDIR` says.

    Args:
        num_bytes: Its size.
        content: What it holds, for error messages, e.g. "1,000 audio samples".

    Raises:
        MediaError: If the disk has no room.

    Example:
        >>> file = MappedFile(4, "4 pixels")
        >>> file.write(2, np.ones(2, np.uint8))
        >>> file.tensor(torch.uint8).tolist()
        [0, 0, 1, 1]
    """

    def __init__(self, num_bytes: int, content: str) -> None:
        self._num_bytes, self._content = num_bytes, content
        # Not `torch.from_file`, which needs a name: Windows does not delete a file that is mapped.
        self._file = tempfile.TemporaryFile(prefix="coprop-")
        try:
            self._file.truncate(num_bytes)
        except OSError as error:
            raise self._no_room(error) from error

    def write(self, position: int, values: np.ndarray) -> None:
        """Write an array, byte `position` first.

        Raises:
            MediaError: If the disk has no room.
        """
        try:
            self._file.seek(position)
            self._file.write(np.ascontiguousarray(values).data)
        except OSError as error:
            raise self._no_room(error) from error

    def read(self, position: int, num_bytes: int) -> bytes:
        """Read what was written."""
        self._file.seek(position)
        return self._file.read(num_bytes)

    def tensor(self, dtype: torch.dtype) -> Tensor:
        """Return the content, `[items]`; nothing can be written to the file after that."""
        if self._num_bytes == 0:
            return torch.zeros(0, dtype=dtype)
        self._file.flush()
        # A private mapping: a change to the tensor goes to memory, not to the file.
        mapped = mmap.mmap(self._file.fileno(), self._num_bytes, access=mmap.ACCESS_COPY)
        self._file.close()
        return torch.frombuffer(mapped, dtype=dtype)

    def _no_room(self, error: OSError) -> MediaError:
        return MediaError(
            f"A temporary file for {self._content} cannot be written "
            f"({error.strerror or error}). Make room in {tempfile.gettempdir()}, or set TMPDIR to "
            "a folder on another disk."
        )


def stacked_rows(
    rows: Iterable[np.ndarray], number: int, in_memory: int = ROWS_IN_MEMORY
) -> Tensor:
    """Stack arrays of one shape, each as soon as there is one: no two copies are in memory.

    Args:
        rows: The arrays.
        number: How many there are, 1 or more.
        in_memory: Beyond so many bytes they are kept in a file, see `MappedFile`.

    Raises:
        MediaError: If the disk has no room.

    Example:
        >>> stacked_rows([np.zeros(2), np.ones(2)], 2, in_memory=0).tolist()
        [[0.0, 0.0], [1.0, 1.0]]
    """
    rows = iter(rows)
    first = next(rows)
    shape = (number, *first.shape)
    every = enumerate(chain([first], rows))
    if number * first.nbytes <= in_memory:
        stacked = np.empty(shape, first.dtype)
        for index, row in every:
            stacked[index] = row
        return torch.from_numpy(stacked)
    file = MappedFile(number * first.nbytes, f"{number:,} frames or masks")
    for index, row in every:
        file.write(index * first.nbytes, row)
    return file.tensor(torch.from_numpy(np.empty(0, first.dtype)).dtype).reshape(shape)
