"""Stdout for results alone: what libraries print, and warnings, go to stderr."""

import _thread
import contextlib
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TextIO, cast

PrintResult = Callable[[str], None]
"""Prints a line on stdout."""

NOT_PRINTED = 3
"""Exit code of a program that has done its work, but could not print all of its results."""

# Control characters except tab and line break, and bytes of file names that are not text.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@contextlib.contextmanager
def results_on_stdout() -> Iterator[PrintResult]:
    """Redirect stdout to stderr inside a `with`; yields a function that still prints on stdout.

    Printing never raises: characters that cannot be printed are escaped, and if stdout or stderr is
    closed or its disk full, what is printed there is dropped, and the work goes on. The program
    then ends with exit code 3 if results are missing on stdout.

    Warnings are shown as one line. SIGTERM ends the program as an interrupt would, so that
    unfinished results are cleaned up.

    Raises:
        SystemExit: At the end, with code `NOT_PRINTED`, if results could not be printed.
    """
    stdout, stderr = _Output(sys.stdout), cast(TextIO, _Output(sys.stderr))
    lost: list[str] = []

    def print_result(text: str) -> None:
        stdout.write(f"{printable(text)}\n")
        if stdout.error and not lost:
            lost.append(stdout.error)
            complain(
                f"Stdout cannot be written ({stdout.error}). Going on without printing results."
            )

    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(stderr),
            contextlib.redirect_stderr(stderr),
        ):
            warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformable")
            warnings.showwarning = lambda message, *_, **__: complain(f"warning: {message}")
            yield print_result
    finally:
        signal.signal(signal.SIGTERM, before)
    if lost:
        raise SystemExit(NOT_PRINTED)


def complain(text: str) -> None:
    """Print a message on stderr, after the program's name."""
    print(f"coprop: {printable(text)}", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    r"""Escape what a terminal would obey or refuse: control characters, and bytes that are no text.

    Example:
        >>> print(printable("street\x1b[2J.mp4"))
        street\x1b[2J.mp4
    """
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


class _Output:
    """A text stream whose writing never raises.

    Args:
        stream: The stream; None if it was closed before the program started.

    Attributes:
        error: Why it could not be written; from then on, what is written is dropped.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.error = None if stream else "it is closed"

    def write(self, text: str) -> int:
        """Write text, with characters that the stream's encoding lacks escaped."""
        if self._stream is not None and self.error is None:
            encoding = getattr(self._stream, "encoding", None)
            if encoding:
                text = text.encode(encoding, "backslashreplace").decode(encoding)
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError) as error:
                self.error = getattr(error, "strerror", None) or str(error)
                _drop_what_is_left(self._stream)
        return len(text)

    def flush(self) -> None:
        """Do nothing: `write` flushes."""

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._stream is not None and self.error is None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _drop_what_is_left(stream: TextIO) -> None:
    """Have the interpreter write what is in the buffer of a stream nowhere when it exits."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    """Exit as an interrupted program does; by force if that takes longer than 5 s."""
    # An exception that is raised while a library calls back is swallowed there. A `Thread` would
    # wait for a lock of `threading` that the interrupted code may hold.
    _thread.start_new_thread(_exit_by_force, (5.0,))
    if hasattr(signal, "SIGCHLD"):
        # The signal may have gone to the whole group: that workers of a data loader end with their
        # parent is not an error, as which torch's handler would report it.
        signal.signal(signal.SIGCHLD, lambda *_: None)
    sys.exit(128 + signal.SIGTERM)


def _exit_by_force(delay_s: float) -> None:
    time.sleep(delay_s)
    os._exit(128 + signal.SIGTERM)
