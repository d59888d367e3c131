"""What every command keeps: results on stdout, the rest on stderr, exit codes 0 to 3."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import typer

from coprop_plugin.errors import CopropError

PrintResult = Callable[[str], None]
"""Prints a line on stdout."""


class PrintableOutcome(Protocol):
    """The outcome of one input, as `batch` and `report` return it; `str` of it is for people."""

    @property
    def input(self) -> Path:
        """The input."""
        ...

    @property
    def status(self) -> str:
        """`"failed"`, or anything else."""
        ...

    @property
    def error(self) -> str | None:
        """Why it failed."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        ...


def print_outcomes(
    outcomes: Iterable[PrintableOutcome], print_result: PrintResult, as_json: bool
) -> int:
    """Print each outcome as it comes; returns the number of failures."""
    failed = 0
    for outcome in outcomes:
        failed += outcome.status == "failed"
        if as_json:
            print_result(json.dumps(outcome.to_dict()))
        elif outcome.status == "failed":
            error = outcome.error or ""
            complain(error if str(outcome.input) in error else f"{outcome.input}: {error}")
        else:
            print_result(str(outcome))
    return failed


def finish(failed: int) -> None:
    """Exit with code 1 if inputs failed."""
    if failed:
        complain(f"{failed} input{'s' if failed > 1 else ''} failed.")
        raise typer.Exit(1)


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Turn an error before any input is touched into one message and exit code 2."""
    try:
        yield
    except CopropError as error:
        complain(str(error))
        raise typer.Exit(2) from None


def refuse_dashed_files() -> None:
    """End with exit code 2 if a file was named that begins with a dash: it would be an option."""
    words = sys.argv[1:]
    words = words[: words.index("--")] if "--" in words else words
    for word in words:
        if word.startswith("-") and Path(word).suffix and Path(word).is_file():
            complain(f"{word} is read as an option, as it begins with a dash. Write ./{word}.")
            sys.exit(2)


# Imported late: `coprop --help` must not import torch.
def results_on_stdout() -> AbstractContextManager[PrintResult]:
    """Keep stdout for results, see `batch.stdout`."""
    from coprop_plugin.batch.stdout import results_on_stdout

    return results_on_stdout()


def complain(text: str) -> None:
    """Print a message on stderr, after the program's name."""
    from coprop_plugin.batch.stdout import complain

    complain(text)
