"""`coprop reproduce --verify`: runs the command of a report again and says what differs."""

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coprop_plugin.benchmark.paper_report import FORMAT as TABLE_FORMAT
from coprop_plugin.benchmark.paper_report import read_results
from coprop_plugin.benchmark.plug_and_play.report_differences import ReportDifferences
from coprop_plugin.errors import ReportError, short_reason
from coprop_plugin.limits import read_text
from coprop_plugin.report import read_bench
from coprop_plugin.report.read_bench import FORMAT as BENCH_FORMAT

_VERIFIED = (
    "What can be run again and compared is report.json of `coprop bench` and NAME.json of `coprop "
    "reproduce NAME`. `coprop evaluate` and `coprop tracks` print scores alone: run them again."
)

_CODE = ("--backend", "--control-points", "--llm", "--propagator")
"""Options whose values may name code that runs."""


def read_report(path: Path) -> tuple[dict[str, Any], str]:
    """Read what can be verified: a report of `coprop bench`, or a table of `coprop reproduce`.

    Args:
        path: `report.json` or its folder, or `NAME.json` of a table.

    Returns:
        Its content, in the form of the report of a benchmark; and the name under which the command
        that made it writes it into its output folder.

    Raises:
        ReportError: If it is neither, or damaged.
    """
    if path.is_dir():
        return read_bench(path), "report.json"
    try:
        kind = json.loads(read_text(path, ReportError)).get("format")
    except FileNotFoundError as error:
        raise ReportError(f"There is no {path}. {_VERIFIED}") from error
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ReportError(
            f"{path} is not a report in JSON ({short_reason(error)}). {_VERIFIED}"
        ) from error
    if kind == TABLE_FORMAT:
        return read_results(path), path.name
    if kind != BENCH_FORMAT:
        raise ReportError(f"{path} is of another form, {str(kind)[:40]!r}. {_VERIFIED}")
    return read_bench(path), "report.json"


def command_in(report: Mapping[str, Any], path: Path) -> list[str]:
    """Return the command that made a report.

    Raises:
        ReportError: If it has no command of `coprop bench` or `coprop reproduce`.
    """
    command = report["about"].get("command")
    words = command if isinstance(command, list) else []
    if words[:1] not in (["bench"], ["reproduce"]) or not all(isinstance(w, str) for w in words):
        raise ReportError(
            f"Expected the command of `coprop bench` or `coprop reproduce` in {path}, got "
            f"{str(command)[:80]}. Reports have it since version 0.1.0; make it again."
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


_PROGRAM = (sys.executable, "-m", "coprop_plugin.cli")


def run_command(words: Sequence[str], program: Sequence[str] = _PROGRAM) -> int:
    """Run `coprop` with these words in a process of its own; returns its exit code.

    Its messages are passed on, but for that of the files that it wrote, which do not last.
    """
    with subprocess.Popen(
        [*program, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if not line.startswith("coprop: wrote "):
                sys.stderr.write(line)
    return process.returncode


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
    earlier, file_name = read_report(path)
    command = command_in(earlier, path)
    named = code_of(command)
    if named and not trust:
        raise ReportError(
            f"The report's command runs code: {', '.join(named)}. If you trust it, add --trust. "
            f"The command is: coprop {shlex.join(command)}"
        )
    with tempfile.TemporaryDirectory() as folder:
        code = run([*command, "--out", folder, "--quiet"])
        if code > 1 or not (Path(folder) / file_name).is_file():
            raise ReportError(
                f"The report's command ended with exit code {code}: coprop "
                f"{shlex.join(command)}. Run it in the folder in which the report was made."
            )
        return ReportDifferences.of(earlier, read_report(Path(folder) / file_name)[0])
