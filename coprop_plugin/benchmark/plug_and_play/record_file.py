"""`records.jsonl`: one line of JSON for each clip and row that is done; a rerun skips those."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from coprop_plugin.media.json_lines import JsonLines


class RecordFile:
    """Records under keys, written as they come and read by the next run.

    A line cut short by a kill is skipped; of several lines with one key the last one counts. Only
    one process at a time can write a file.

    Args:
        path: The file; its folder is made if need be. None keeps records in memory alone.
        redo: Whether to discard earlier records.

    Raises:
        MediaError: If the file cannot be read or written, or another process is writing it.

    Example:
        >>> with RecordFile(None) as records:
        ...     records.add("a", {"M_J": 1.0})
        >>> records.get("a"), records.get("b")
        ({'M_J': 1.0}, None)
    """

    def __init__(self, path: str | Path | None, redo: bool = False) -> None:
        self._records: dict[str, dict[str, Any]] = {}
        self._lines = None if path is None else JsonLines(path)
        if self._lines is None:
            return
        self._lines.claim()
        try:
            if redo:
                self._lines.rewrite([])
            for line in self._lines.read():
                if isinstance(key := line.pop("key", None), str):
                    self._records[key] = line
        except BaseException:
            self._lines.close()
            raise

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the record of a key, None if there is none."""
        return self._records.get(key)

    def add(self, key: str, record: Mapping[str, Any]) -> None:
        """Write a record.

        Raises:
            MediaError: If it cannot be written.
        """
        self._records[key] = dict(record)
        if self._lines is not None:
            self._lines.append({"key": key, **record})

    def __enter__(self) -> "RecordFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._lines is not None:
            self._lines.close()


def key_of(**about: Any) -> str:
    """Return a short key of everything that decides a record.

    Example:
        >>> key_of(clip="a", row="bare") == key_of(row="bare", clip="a")
        True
    """
    text = json.dumps(about, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]
