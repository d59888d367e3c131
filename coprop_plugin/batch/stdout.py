"""Stdout for results alone: what libraries print, and warnings, go to stderr."""

import _thread
import contextlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from types import FrameType

PrintResult = Callable[[str], None]
"""Prints a line on stdout."""


@contextlib.contextmanager
def results_on_stdout() -> Iterator[PrintResult]:
    """Redirect stdout to stderr inside a `with`; yields a function that still prints on stdout.

    Warnings are shown as one line. SIGTERM ends the program as an interrupt would, so that
    unfinished results are cleaned up.
    """
    stdout = sys.stdout

    def print_result(text: str) -> None:
        print(text, file=stdout, flush=True)

    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformable")
            warnings.showwarning = lambda message, *_, **__: complain(f"warning: {message}")
            yield print_result
    finally:
        signal.signal(signal.SIGTERM, before)


def complain(text: str) -> None:
    """Print a message on stderr, after the program's name."""
    print(f"coprop: {text}", file=sys.stderr, flush=True)


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    """Exit as an interrupted program does; by force if that takes longer than 5 s."""
    # An exception that is raised while a library calls back is swallowed there. A `Thread` would
    # wait for a lock of `threading` that the interrupted code may hold.
    _thread.start_new_thread(_exit_by_force, (5.0,))
    sys.exit(128 + signal.SIGTERM)


def _exit_by_force(delay_s: float) -> None:
    time.sleep(delay_s)
    os._exit(128 + signal.SIGTERM)
