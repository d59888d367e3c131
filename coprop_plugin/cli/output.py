"""What every command keeps: results on stdout, the rest on stderr, exit codes 0, 1 and 2."""

import contextlib
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import typer

from coprop_plugin.errors import CopropError


def report(outcomes: Iterator[Any], print_result: Any, as_json: bool) -> int:
    """Print each outcome as it comes; returns how many failed."""
    failed = 0
    for outcome in outcomes:
        failed += outcome.status == "failed"
        if as_json:
            print_result(json.dumps(outcome.to_dict()))
        elif outcome.status == "failed":
            named = str(outcome.input) in outcome.error
            complain(outcome.error if named else f"{outcome.input}: {outcome.error}")
        else:
            print_result(str(outcome))
    return failed


def finish(failed: int) -> None:
    """End with exit code 1 if inputs failed."""
    if failed:
        complain(f"{failed} input{'s' if failed > 1 else ''} failed; the rest is done.")
        raise typer.Exit(1)


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Turn what goes wrong before any input is touched into exit code 2 and one message."""
    try:
        yield
    except CopropError as error:
        complain(str(error))
        raise typer.Exit(2) from None


@contextlib.contextmanager
def results_on_stdout() -> Iterator[Any]:
    """Keep stdout for results: what libraries print goes to stderr."""
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


def _terminate(*_: Any) -> None:
    """Clean up like an interrupted run; if that does not come to an end, end all the same."""
    # An exception that is raised while a library calls back is swallowed there.
    last_resort = threading.Timer(5.0, os._exit, (143,))
    last_resort.daemon = True
    last_resort.start()
    sys.exit(143)


def complain(text: str) -> None:
    """Say something on stderr, in the program's name."""
    print(f"coprop: {text}", file=sys.stderr, flush=True)
