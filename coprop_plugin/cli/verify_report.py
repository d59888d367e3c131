"""`coprop reproduce --verify`: runs the command of a report again and says what differs."""

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from coprop_plugin.benchmark.plug_and_play.report_differences import ReportDifferences
from coprop_plugin.errors import ReportError
from coprop_plugin.report import read_bench

_CODE = ("--backend", "--control-points", "--llm", "--propagator")
"""Options whose values may name code that runs."""


def command_in(path: Path) -> list[str]:
    """Return the command that made a report.

    Raises:
        ReportError: If it is not the report of a benchmark, or has no command of `coprop bench`.
    """
    command = read_bench(path)["about"].get("command")
    words = command if isinstance(command, list) else []
    if words[:1] != ["bench"] or not all(isinstance(word, str) for word in words):
        raise ReportError(
            f"Expected the command of `coprop bench` in {path}, got {str(command)[:80]}. Reports "
            "have it since version 0.1.0; make it again."
        )
    return words


def code_of(command: Sequence[str]) -> list[str]:
    """Return the values of a command's options that name code, or a config of a part.

    Example:
        >>> code_of(["bench", "--world", "2", "--backend", "mine=models.py:make"])
        ['mine=models.py:make']
    """
    pairs = zip(command, command[1:], strict=False)
    values = [value for option, value in pairs if option in _CODE]
    # `--backend=VALUE` and `-b`, which `coprop bench` itself does not write.
    values += [
        word for word in command if word.startswith(("-b", "-c", *_CODE)) and word not in _CODE
    ]
    return [value for value in values if ":" in value and "hf://" not in value]


def run_command(words: Sequence[str]) -> int:
    """Run `coprop` with these words in a process of its own; returns its exit code."""
    program = [sys.executable, "-m", "coprop_plugin.cli", *words]
    return subprocess.run(program, stdout=subprocess.DEVNULL, check=False).returncode


def verify(
    path: Path, trust: bool, run: Callable[[Sequence[str]], int] = run_command
) -> ReportDifferences:
    """Run a report's command again in the current folder, and compare.

    Args:
        path: The report.
        trust: Whether to run code that its command names.
        run: Runs `coprop` with the words of a command.

    Raises:
        ReportError: If it cannot be run, or names code that is not trusted.
    """
    command = command_in(path)
    named = code_of(command)
    if named and not trust:
        raise ReportError(
            f"The report's command runs code: {', '.join(named)}. If you trust it, add --trust. "
            f"The command is: coprop {shlex.join(command)}"
        )
    with tempfile.TemporaryDirectory() as folder:
        code = run([*command, "--out", folder, "--quiet"])
        if code > 1 or not (Path(folder) / "report.json").is_file():
            raise ReportError(
                f"The report's command ended with exit code {code}: coprop "
                f"{shlex.join(command)}. Run it in the folder in which the report was made."
            )
        return ReportDifferences.of(read_bench(path), read_bench(folder))
