"""Append-only files of JSON lines that several processes share."""

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from coprop_plugin.errors import CopropError, MediaError
from coprop_plugin.limits import TEXT_BYTES, Limit, read_bytes

WAIT_S = 60.0
"""How long `append` waits for other writers, in seconds."""


class JsonLines:
    """A file with one JSON object a line, to which any number of processes append.

    Each line is appended in one piece under a lock, which is a file beside it (`.NAME.lock`). A
    killed process leaves at most half a line, which is skipped when the file is read. Threads may
    share an object.

    Args:
        path: The file; its folder is made when it is first written.
        error: The class of the errors to raise.
        limit: The most bytes that are read of it.
        wait_s: How long to wait for other writers, in seconds.
        name: The name of the file in messages; by default its path.

    Example:
        >>> import tempfile
        >>> lines = JsonLines(Path(tempfile.mkdtemp()) / "journal.jsonl")
        >>> lines.append({"clip": "a", "score": 1.0})
        >>> list(lines.read())
        [{'clip': 'a', 'score': 1.0}]
    """

    def __init__(
        self,
        path: str | Path,
        error: type[CopropError] = MediaError,
        limit: Limit = TEXT_BYTES,
        wait_s: float = WAIT_S,
        name: str | Path | None = None,
    ) -> None:
        self.path = Path(path)
        self._name = name or self.path
        self.lock_path = self.path.with_name(f".{self.path.name.lstrip('.')}.lock")
        self._error, self._limit, self._wait_s = error, limit, wait_s
        # The file's lock keeps processes apart, and belongs to all threads of this one.
        self._lock = FileLock(self.lock_path, thread_local=False)
        self._threads = threading.RLock()
        self._claimed = False
        self._seen = 0

    def append(self, record: Mapping[str, Any]) -> None:
        """Append a record as one line.

        Raises:
            CopropError: The `error` of this object, if the file cannot be written, another process
                holds it for longer than `wait_s`, or the line alone is over the limit.
        """
        line = self._line(record)
        with self._locked(), self.path.open("ab+", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(-1, os.SEEK_END)
                # A killed process may have left half a line.
                line = line if file.read(1) == b"\n" else b"\n" + line
            written = 0
            try:
                while written < len(line):
                    written += file.write(line[written:]) or 0
            except OSError:
                # On a full disk: half a line would do no harm, but none is better.
                file.truncate(size)
                raise

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the records, oldest first; a file that does not exist has none.

        What is not a JSON object on a line of its own, e.g. half a line of a killed process, is
        skipped.

        Raises:
            CopropError: The `error` of this object, if the file is over the limit or unreadable.
        """
        yield from _records(self._content(0))

    def read_new(self) -> list[dict[str, Any]]:
        """Return the records that were appended, by any process, since the last `read_new`.

        A last line without its line break is left for the next call.

        Raises:
            CopropError: As in `read`.
        """
        with self._threads:
            content = self._content(self._seen)
            whole = content[: content.rfind(b"\n") + 1]
            self._seen += len(whole)
        return list(_records(whole))

    def rewrite(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Replace all records at once; readers see the old file or the new one.

        Raises:
            CopropError: As in `append`.
        """
        content = b"".join(map(self._line, records))
        partial = self.lock_path.with_suffix(".part")
        with self._locked():
            try:
                partial.write_bytes(content)
                os.replace(partial, self.path)
            finally:
                partial.unlink(missing_ok=True)
            self._seen = 0

    def remove(self) -> None:
        """Delete the file and its lock, which also closes this object.

        Raises:
            CopropError: As in `append`.
        """
        with self._locked():
            self.path.unlink(missing_ok=True)
            if os.name == "posix":
                # While it is held, so that nobody waits for a lock without a name. Elsewhere an
                # open file cannot be deleted, and filelock does it.
                self.lock_path.unlink(missing_ok=True)
        self.close()

    def claim(self) -> None:
        """Reserve the file until `close`; until then other objects and processes cannot write it.

        Raises:
            CopropError: The `error` of this object, if another object, of this process or another,
                has claimed the file, or it cannot be written.
        """
        with self._threads:
            if not self._claimed:
                self._acquire(wait_s=0.0)
                self._claimed = True

    def close(self) -> None:
        """Let others claim the file."""
        with self._threads:
            if self._claimed:
                self._claimed = False
                self._lock.release()

    def __enter__(self) -> Self:
        self.claim()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._threads:
            self._acquire(self._wait_s)
            try:
                yield
            except OSError as error:
                raise self._unwritable(error) from error
            finally:
                self._lock.release()

    def _acquire(self, wait_s: float) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=wait_s, poll_interval=0.01)
        except Timeout as error:
            raise self._in_use() from error
        except (OSError, NotImplementedError) as error:
            raise self._unwritable(error) from error
        except RuntimeError as error:
            # Another object of this thread holds it: filelock refuses to wait for itself.
            raise self._in_use() from error

    def _line(self, record: Mapping[str, Any]) -> bytes:
        line = json.dumps(record).encode() + b"\n"
        self._limit.check(len(line), f"A line of {self.path}", self._error)
        return line

    def _content(self, start: int) -> bytes:
        try:
            return read_bytes(self.path, self._error, self._limit, start)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise self._error(
                f"{self.path} cannot be read ({error.strerror or error}). Check its permissions, "
                "or choose another."
            ) from error

    def _in_use(self) -> CopropError:
        return self._error(
            f"Another process is writing {self._name}. Wait for it to finish, or choose another."
        )

    def _unwritable(self, error: Exception) -> CopropError:
        return self._error(
            f"{self._name} cannot be written ({getattr(error, 'strerror', None) or error}). Check "
            "that the disk has room and that the folder may be written, or choose another."
        )


def _records(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.split(b"\n"):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record
