"""Jobs shared among processes of this machine; one that dies takes one job with it."""

import json
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from coprop_plugin.batch.one_file import Job, Options, do_job
from coprop_plugin.batch.outcome import Outcome
from coprop_plugin.errors import CopropError, WorkerError
from coprop_plugin.pipeline import CoProp

# A forked process would inherit threads' locks and a GPU that it cannot use.
_SPAWN = multiprocessing.get_context("spawn")
_END_S = 10.0


def in_processes(
    make: Callable[..., CoProp],
    jobs: Sequence[Job],
    options: Options,
    workers: int,
    threads: int | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Do jobs in processes, each with its own model; yields outcomes as they come.

    A process that dies makes its job a failure and is replaced. However this ends, no process
    stays.

    Args:
        make: As in `run_many`.
        jobs: What to do.
        options: How.
        workers: How many processes.
        threads: Of each process; None divides torch's among them.

    Yields:
        The number of a job and its outcome.

    Raises:
        WorkerError: If a model cannot be made.
    """
    threads = threads or threads_of(workers)
    waiting = deque(range(len(jobs)))
    pool = [_Worker(make, n, options, threads) for n in range(min(workers, len(jobs)))]
    try:
        while pool:
            for connection in wait([worker.connection for worker in pool]):
                worker = next(w for w in pool if w.connection is connection)
                number, says = worker.job, worker.hear()
                if says is None:
                    pool.remove(worker)
                    worker.end()
                    # Whoever dies before its first job would die again.
                    yield _failed(number, jobs, worker.process.exitcode)
                    pool += [worker.another()] if waiting else []
                    continue
                if number is not None:
                    yield number, Outcome.from_dict(says["outcome"], says["took_s"])
                if waiting:
                    worker.begin(waiting.popleft(), jobs)
                else:
                    pool.remove(worker)
                    worker.end()
    finally:
        for worker in pool:
            worker.process.terminate()
        for worker in pool:
            worker.end()


def threads_of(workers: int) -> int:
    """Return how many threads each of several workers has, of those that torch would take."""
    return max(1, torch.get_num_threads() // workers)


def to_message(outcome: Outcome) -> str:
    """Return an outcome as text that another process can read without unpickling anything."""
    return json.dumps({"outcome": outcome.to_dict(), "took_s": outcome.took_s}, default=str)


def _failed(number: int | None, jobs: Sequence[Job], exit_code: int | None) -> tuple[int, Outcome]:
    ended = f"exit code {exit_code}"
    if exit_code is not None and exit_code < 0:
        ended = signal.Signals(-exit_code).name
    if number is None:
        raise WorkerError(
            f"A worker ended while it made its model ({ended}); memory for one model in each may "
            "be short. Try fewer --workers."
        )
    return number, Outcome(
        jobs[number].path,
        "failed",
        error=f"The process that segmented it ended ({ended}), for want of memory perhaps. Try it "
        "alone, with fewer --workers or a lower --fps.",
    )


class _Worker:
    """A process that makes a model, then does one job after the other.

    Attributes:
        connection: What it says comes from here.
        process: For its exit code.
        job: The number of the job that it has; None until it has made its model.
    """

    def __init__(
        self, make: Callable[..., CoProp], number: int, options: Options, threads: int
    ) -> None:
        self._arguments = (make, number, options, threads)
        self.connection, theirs = _SPAWN.Pipe()
        self.job: int | None = None
        self.process = _SPAWN.Process(target=_work, args=(theirs, *self._arguments))
        with _interrupts_ignored():
            self.process.start()
        theirs.close()

    def another(self) -> "_Worker":
        """Start one in its place."""
        return _Worker(*self._arguments)

    def begin(self, number: int, jobs: Sequence[Job]) -> None:
        """Give it a job."""
        self.job = number
        # If it died meanwhile, that is what is heard next.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send([str(path) for path in jobs[number]])

    def hear(self) -> dict[str, Any] | None:
        """Return what it says, None if it died.

        Raises:
            WorkerError: If it could not make its model.
        """
        try:
            says = json.loads(self.connection.recv())
        except (EOFError, ConnectionResetError):
            return None
        if "unable" in says:
            raise WorkerError(says["unable"])
        return says

    def end(self) -> None:
        """Have no more jobs for it, and wait until it is gone."""
        self.connection.close()
        self.process.join(_END_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: whoever started them ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(
    connection: Connection,
    make: Callable[..., CoProp],
    number: int,
    options: Options,
    threads: int,
) -> None:
    """Make a model, and do jobs until there are no more."""
    from coprop_plugin.cli.output import results_on_stdout

    threading.Thread(target=_end_with_parent, daemon=True).start()
    with results_on_stdout():
        compute_with(threads)
        try:
            model = make(number=number)
        except Exception as error:
            kind = "" if isinstance(error, CopropError) else f"{type(error).__name__}: "
            connection.send(json.dumps({"unable": f"{kind}{error}"}))
            return
        connection.send("{}")
        with suppress(EOFError, BrokenPipeError, ConnectionResetError):
            while True:
                job = Job(*map(Path, connection.recv()))
                connection.send(to_message(do_job(model, job, options)))


def _end_with_parent() -> None:
    """End at once if the process that would collect the results is gone."""
    multiprocessing.parent_process().join()
    os._exit(1)


def compute_with(threads: int) -> None:
    """Let torch, OpenCV and the decoder of videos take so many threads each.

    Processes that share a machine would otherwise take all of its cores each, and wait for one
    another.
    """
    # The decoder takes as many as torch, see `VideoSource`.
    torch.set_num_threads(threads)
    with suppress(ImportError):
        import cv2

        cv2.setNumThreads(threads)
