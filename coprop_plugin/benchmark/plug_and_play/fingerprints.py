"""Fingerprints of models and providers: what their results depend on, as a short text."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coprop_plugin.types import ControlPoints

_PIECE_BYTES = 2**22

_PLAIN = (str, bytes, bool, int, float, complex, type(None))


def fingerprint(thing: object) -> str:
    """Return a text that changes with an object's class, options and weights.

    Options are the public attributes, at any depth, with the content of the files that they name.
    A control-point provider counts with its `settings` (prompts, examples), its language model and
    the providers that it calls; a language model with its name, id and settings, as for stored
    answers. Of functions only the name counts: changes of code are not noticed.

    Example:
        >>> network = nn.Linear(1, 1)
        >>> before = fingerprint(network)
        >>> _ = nn.init.zeros_(network.weight)
        >>> fingerprint(network) == before
        False
    """
    digest = _Digest()
    digest.add(thing)
    return digest.text()


def clip_fingerprint(frames: Tensor, waveform: Tensor | None, masks: Tensor) -> str:
    """Return a hash of what a clip is: its frames, its audio and its true masks.

    Example:
        >>> silence, nothing = torch.zeros(4), torch.zeros(1, 2, 2)
        >>> clip_fingerprint(torch.zeros(1, 3, 2, 2), silence, nothing)[:6]
        '66ceb3'
    """
    digest = _Digest()
    digest.add([frames, waveform, masks])
    return digest.text()


def data_fingerprint(clips: Iterable[str]) -> str:
    """Return a hash of a set of clips from their own, whatever their order."""
    return hashlib.sha256("\n".join(sorted(clips)).encode()).hexdigest()[:20]


class _Digest:
    """A hash of an object and of what it holds."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        # Objects on the way to the current one, which may refer back to them.
        self._open: set[int] = set()

    def text(self) -> str:
        return self._hash.hexdigest()[:20]

    def add(self, thing: Any) -> None:
        if isinstance(thing, _PLAIN):
            self._plain(thing)
        elif id(thing) in self._open:
            self._word("again")
        else:
            self._open.add(id(thing))
            self._compound(thing)
            self._open.remove(id(thing))

    def _word(self, *words: object) -> None:
        for word in words:
            content = str(word).encode()
            self._hash.update(f"{len(content)} ".encode() + content)

    def _plain(self, thing: Any) -> None:
        if not (isinstance(thing, str) and "." in thing and self._file(Path(thing))):
            self._word(type(thing).__name__, repr(thing))

    def _file(self, path: Path) -> bool:
        """Add the content of a file, wherever it is; returns whether there is such a file."""
        try:
            with path.open("rb") as file:
                self._word("file", hashlib.file_digest(file, "sha256").hexdigest())
        except (OSError, ValueError):
            return False
        return True

    def _compound(self, thing: Any) -> None:
        if isinstance(thing, Path):
            self._plain(str(thing))
        elif isinstance(thing, Tensor):
            self._tensor(thing)
        elif isinstance(thing, np.ndarray):
            self._word("array", thing.dtype, thing.shape, thing.tobytes())
        elif (items := _items(thing)) is not None:
            self._word(type(thing).__name__, len(items))
            for item in items:
                self.add(item)
        elif isinstance(thing, type) or not hasattr(thing, "__dict__") or _is_function(thing):
            kind = thing if hasattr(thing, "__qualname__") else type(thing)
            self._word(getattr(kind, "__module__", ""), kind.__qualname__)
        else:
            self._object(thing)

    def _tensor(self, tensor: Tensor) -> None:
        self._word("tensor", tensor.dtype, tuple(tensor.shape))
        rows = tensor.detach().reshape(1) if tensor.ndim == 0 else tensor.detach()
        # In pieces: there may be more of them than fit into memory.
        size = max(1, _PIECE_BYTES * len(rows) // max(1, rows.nbytes))
        for piece in rows.split(size):
            flat = piece.cpu().contiguous().reshape(-1)
            self._hash.update(flat.view(torch.uint8).numpy().data)

    def _object(self, thing: Any) -> None:
        self._word(type(thing).__module__, type(thing).__qualname__)
        if hasattr(thing, "chat"):
            self.add([getattr(thing, name, None) for name in ("name", "model_id", "settings")])
            return
        self.add(getattr(thing, "settings", None))
        self.add(getattr(thing, "config", None))
        parts = [thing]
        if isinstance(thing, nn.Module):
            self.add({n: x for n, x in thing.state_dict().items() if isinstance(x, Tensor)})
            parts = list(thing.modules())
        for part in parts:
            self.add(_public(part))


def _items(thing: Any) -> list[Any] | None:
    """Return what a container holds, in a fixed order; None of anything else."""
    if isinstance(thing, Mapping):
        return [part for key in sorted(thing, key=str) for part in (key, thing[key])]
    if isinstance(thing, list | tuple):
        return list(thing)
    if isinstance(thing, set | frozenset):
        return sorted(map(str, thing))
    if isinstance(thing, partial):
        return [thing.func, thing.args, thing.keywords]
    return [thing.flags, thing.starts_s] if isinstance(thing, ControlPoints) else None


def _is_function(thing: Any) -> bool:
    return hasattr(thing, "__code__") or hasattr(thing, "__func__")


def _public(thing: Any) -> dict[str, Any]:
    """Return an object's public attributes; not those that are computed at first use."""
    kind = type(thing)
    return {
        name: value
        for name, value in vars(thing).items()
        if not name.startswith("_")
        and name != "training"
        and not isinstance(getattr(kind, name, None), cached_property)
    }
