"""A progress bar for the pipeline's hooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from coprop_plugin.types import Hook

_SAYS = {
    "inputs": "Segmenting videos",
    "keyframes": "Segmenting keyframes",
    "propagation": "Propagating masks",
    "benchmark": "Scoring clips and rows",
}


class ProgressHook:
    """Progress bars on stderr, one for each step of the pipeline.

    Example:
        >>> with ProgressHook() as hook:
        ...     hook("propagation", None, 1, 1)
    """

    def __init__(self, title: str = "") -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        # Gone when done, so that what stays on the screen are results and warnings.
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._title = title
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> "ProgressHook":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(self, step: str, artifact: Any, done: int, total: int) -> None:
        """Note that `done` of `total` items of `step` are done."""
        if step not in _SAYS:
            return
        if step not in self._tasks:
            says = f"{self._title}: {_SAYS[step]}" if self._title else _SAYS[step]
            self._tasks[step] = self._progress.add_task(says, total=total)
        self._progress.update(self._tasks[step], completed=done, total=total)


@contextmanager
def progress_hook(hook: Hook | None, progress: bool, title: str = "") -> Iterator[Hook | None]:
    """Return one hook that calls the caller's and, if wanted, draws a progress bar."""
    if not progress:
        yield hook
        return
    with ProgressHook(title) as bar:

        def both(step: str, artifact: Any, done: int, total: int) -> None:
            bar(step, artifact, done, total)
            if hook:
                hook(step, artifact, done, total)

        yield both
