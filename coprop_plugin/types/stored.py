"""A waveform too long to be kept in memory."""

import tempfile
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

_ITEM = 4


class StoredWaveform:
    """A waveform `[samples]` float32 in a temporary file, silent where nothing was written.

    It stands in for a tensor as `Clip.waveform`: `waveform[a:b]` reads that stretch alone. Anything
    else that is done with it, torch's functions included, reads all of it into memory first. The
    file goes with the last that holds it; it is where `TMPDIR` says.

    Args:
        length: In samples.

    Example:
        >>> waveform = StoredWaveform(100)
        >>> waveform.write(98, np.ones(4, np.float32))
        >>> len(waveform), waveform[97:].tolist(), float(torch.sum(waveform))
        (100, [0.0, 1.0, 1.0], 2.0)
    """

    ndim = 1
    dtype = torch.float32
    device = torch.device("cpu")

    def __init__(self, length: int) -> None:
        self._length = length
        self._file = tempfile.TemporaryFile(prefix="coprop-sound-")
        self._file.truncate(length * _ITEM)
        self._reading = threading.Lock()
        self.scale = 1.0
        """What samples are multiplied with as they are read."""

    def write(self, position: int, samples: np.ndarray) -> None:
        """Write samples from index `position` on; what lies outside is dropped."""
        first, last = max(0, -position), max(0, self._length - position)
        inside = np.ascontiguousarray(samples[first:last], np.float32)
        self._file.seek((position + first) * _ITEM)
        self._file.write(inside.data)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, key: Any) -> Tensor:
        if not isinstance(key, slice) or key.step not in (None, 1):
            return self.load()[key]
        start, stop, _ = key.indices(self._length)
        samples = np.zeros(max(0, stop - start), np.float32)
        with self._reading:
            self._file.seek(start * _ITEM)
            self._file.readinto(samples.data)
        return torch.from_numpy(samples * np.float32(self.scale))

    def load(self) -> Tensor:
        """Return all of it as a tensor."""
        return self[:]

    def is_floating_point(self) -> bool:
        """True."""
        return True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.load(), name)

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        return np.asarray(self.load().numpy(), *args, **kwargs)

    @classmethod
    def __torch_function__(
        cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        def loaded(value: Any) -> Any:
            if isinstance(value, list | tuple):
                return type(value)(map(loaded, value))
            return value.load() if isinstance(value, cls) else value

        known = {name: loaded(value) for name, value in (kwargs or {}).items()}
        return function(*loaded(args), **known)
