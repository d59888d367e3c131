"""What became of every input, one line of JSON each, written by any number of processes."""

import datetime
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coprop_plugin.batch.outcome import Outcome
from coprop_plugin.errors import MediaError

NAME = "manifest.jsonl"


class Manifest:
    """`manifest.jsonl` in the folder of the results: a line whenever an input is dealt with.

    Lines are only ever added, each in one piece and under a lock, so that several processes, also
    on several machines, write into one file. The last line of an input says what holds now; the
    results themselves say what is finished, so a lost line loses nothing.

    Args:
        folder: Where the results go.
        settings: What decides the results, beside the inputs.
        **about: What else each line should say, the share of this process, say.

    Raises:
        MediaError: On `add`, if the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Manifest(Path(folder)).add(Outcome(Path("a.mp4"), "failed", error="It is empty."))
        ...     Manifest.read(Path(folder))["a.mp4"]["state"]
        'failed'
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any] | None = None, **about: Any
    ) -> None:
        self.path = folder / NAME
        self._about = {"settings": key_of(settings or {}), **about}

    def add(self, outcome: Outcome) -> None:
        """Write down what became of an input."""
        now = datetime.datetime.now(datetime.UTC)
        content = {
            "input": str(outcome.input),
            "state": outcome.status,
            "output": None if outcome.output is None else str(outcome.output),
            "num_frames": outcome.num_frames,
            "error": outcome.error,
            "seconds": None if outcome.took_s is None else round(outcome.took_s, 3),
            **self._about,
            "time": now.isoformat(timespec="seconds"),
        }
        line = json.dumps({key: value for key, value in content.items() if value is not None})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+", buffering=0) as file, locked(file.fileno()):
                size = file.seek(0, os.SEEK_END)
                whole = size == 0 or os.pread(file.fileno(), 1, size - 1) == b"\n"
                # A process that was killed may have left half a line.
                file.write(("" if whole else "\n").encode() + line.encode() + b"\n")
        except OSError as error:
            raise MediaError(
                f"{self.path} cannot be written ({error.strerror or error}). Check that the disk "
                "has room and that the folder may be written, or choose another."
            ) from error

    @staticmethod
    def read(folder: Path) -> dict[str, dict[str, Any]]:
        """Return the last line of each input; half lines do not count."""
        path, last = folder / NAME, {}
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            try:
                content = json.loads(line)
                last[content["input"]] = content
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
        return last


def key_of(settings: Mapping[str, Any]) -> str:
    """Return a short key for settings.

    Example:
        >>> key_of({"fps": 1.0}) == key_of({"fps": 2.0})
        False
    """
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def locked(file: int) -> Iterator[None]:
    """Keep other processes out of an open file; where the system has no such locks, do nothing."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    # POSIX locks, which network file systems know, too.
    fcntl.lockf(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN)
