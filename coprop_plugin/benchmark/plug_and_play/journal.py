"""What is done already: one line of JSON for each clip and row, so that a killed run goes on."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from coprop_plugin.errors import MediaError


class Journal:
    """Records under keys, written as they come and read back by the next run.

    A line that a kill cut short does not count; of two lines of one key the later one does.

    Args:
        path: The file; its folder is made if need be. None remembers in memory alone.
        redo: Whether to forget what is there.

    Raises:
        MediaError: If the file cannot be written.

    Example:
        >>> with Journal(None) as journal:
        ...     journal.add("a", {"M_J": 1.0})
        >>> journal.get("a"), journal.get("b")
        ({'M_J': 1.0}, None)
    """

    def __init__(self, path: str | Path | None, redo: bool = False) -> None:
        self._records: dict[str, dict[str, Any]] = {}
        self._file = None
        if path is None:
            return
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8") if path.is_file() and not redo else ""
            self._file = path.open("a" if text else "w", encoding="utf-8")
        except (OSError, ValueError) as error:
            raise MediaError(
                f"{path} cannot be written or read ({error}). Choose another folder."
            ) from error
        for line in text.splitlines():
            self._read(line)
        if text and not text.endswith("\n"):
            self._file.write("\n")

    def _read(self, line: str) -> None:
        try:
            content = json.loads(line)
            self._records[content.pop("key")] = content
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            return

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the record of a key, None if it is not done."""
        return self._records.get(key)

    def add(self, key: str, record: Mapping[str, Any]) -> None:
        """Write a record down at once."""
        self._records[key] = dict(record)
        if self._file is not None:
            self._file.write(json.dumps({"key": key, **record}) + "\n")
            self._file.flush()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()


def key_of(**about: Any) -> str:
    """Return a short key for all that decides a record.

    Example:
        >>> key_of(clip="a", row="bare") == key_of(row="bare", clip="a")
        True
    """
    text = json.dumps(about, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def fingerprint(thing: Any) -> str:
    """Return what changes with a model's kind, options and weights.

    Of what is no module, and of code, it sees the kind alone.

    Example:
        >>> network = nn.Linear(1, 1)
        >>> before = fingerprint(network)
        >>> _ = nn.init.zeros_(network.weight)
        >>> fingerprint(network) == before
        False
    """
    kind = type(thing)
    told = f"{kind.__module__}.{kind.__qualname__} {getattr(thing, 'config', '')}"
    digest = hashlib.sha256(told.encode())
    if isinstance(thing, nn.Module):
        tensors = {n: v for n, v in thing.state_dict().items() if isinstance(v, Tensor)}
        for name, value in tensors.items():
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:20]
