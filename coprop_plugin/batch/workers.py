"""Jobs shared among processes of this machine; if one dies, one job has failed."""

import atexit
import json
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from coprop_plugin.batch.one_file import Job, Options, do_job
from coprop_plugin.batch.outcome import Outcome
from coprop_plugin.batch.stdout import results_on_stdout
from coprop_plugin.errors import CopropError, WorkerError
from coprop_plugin.pipeline import CoProp

# A forked process would inherit locks of threads, and a GPU that it cannot use.
_SPAWN = multiprocessing.get_context("spawn")
_END_S = 7.0
_NOT_DONE = "It was not segmented, because no worker is left. Run the command again."


def in_processes(
    make: Callable[..., CoProp],
    jobs: Sequence[Job],
    options: Options,
    workers: int,
    threads: int | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Do jobs in processes, each with its own model; yields outcomes as they come.

    The job of a process that dies has failed, and the process is replaced. If a process cannot
    build its model, the others go on. All processes have ended when this generator ends, in
    whatever way, and at the latest when the program exits.

    Args:
        make: As in `run_many`.
        jobs: The inputs and the folders of their results.
        options: How to segment, and what to write.
        workers: Number of processes.
        threads: Threads of each process; None divides torch's among them.

    Yields:
        The number of a job and its outcome.

    Raises:
        WorkerError: If no process can build its model.
    """
    threads = threads or threads_of(workers)
    waiting = deque(range(len(jobs)))
    pool = [_Worker(make, n, options, threads) for n in range(min(workers, len(jobs)))]
    # If the caller raises, its traceback keeps this generator alive until the interpreter exits,
    # where multiprocessing would wait for the processes. Exit functions run last in, first out.
    end = partial(_end_all, pool, os.getpid())
    atexit.register(end)
    built, fault, untold = False, "", list[str]()
    try:
        for worker in pool:
            worker.start()
        for worker, message in _messages(pool):
            number = worker.job
            if message is None:
                worker.end()
                pool.remove(worker)
                if number is None:
                    # In its place another would die, too.
                    fault = worker.fault
                    untold.append(fault)
                else:
                    yield number, Outcome(jobs[number].path, "failed", error=worker.fault)
                    if waiting:
                        pool.append(worker.replacement())
                        pool[-1].start()
                continue
            built = True
            _warn_of_fewer(untold, len(pool))
            if number is not None:
                yield number, Outcome.from_dict(message["outcome"], message["took_s"])
            if waiting:
                worker.begin(waiting.popleft(), jobs)
            else:
                worker.end()
                pool.remove(worker)
    finally:
        end()
        atexit.unregister(end)
    if not built and waiting:
        raise WorkerError(fault)
    for number in waiting:
        yield number, Outcome(jobs[number].path, "failed", error=f"{_NOT_DONE} {fault}")


def threads_of(workers: int) -> int:
    """Return the number of threads of each of several workers, which divide torch's."""
    return max(1, torch.get_num_threads() // workers)


def set_threads(threads: int) -> None:
    """Set the number of threads of torch, OpenCV and the video decoder.

    Otherwise each process of a machine would use as many threads as there are cores, and they
    would slow one another down.
    """
    # The decoder uses as many as torch, see `VideoSource`.
    torch.set_num_threads(threads)
    with suppress(ImportError):
        import cv2

        cv2.setNumThreads(threads)


def to_message(outcome: Outcome) -> str:
    """Return an outcome as text that another process can read without unpickling anything."""
    return json.dumps({"outcome": outcome.to_dict(), "took_s": outcome.took_s}, default=str)


def _warn_of_fewer(faults: list[str], left: int) -> None:
    """Warn of each worker that could not be built, once; empties the list."""
    while faults:
        warnings.warn(f"{faults.pop()} Workers left: {left}.", stacklevel=3)


def _messages(pool: Sequence["_Worker"]) -> Iterator[tuple["_Worker", dict[str, Any] | None]]:
    """Yield what arrives from workers, None from one that ended, until there are no workers."""
    while pool:
        ready = wait([worker.connection for worker in pool])
        for worker in [worker for worker in pool if worker.connection in ready]:
            yield worker, worker.receive()


class _Worker:
    """A process that builds a model, then does one job after the other.

    Attributes:
        connection: Its messages arrive here.
        process: The process.
        job: The number of its current job; None until it has built its model.
    """

    def __init__(
        self, make: Callable[..., CoProp], number: int, options: Options, threads: int
    ) -> None:
        self._arguments = (make, number, options, threads)
        self.connection, self._theirs = _SPAWN.Pipe()
        self.job: int | None = None
        self._unable: str | None = None
        self.process = _SPAWN.Process(target=_work, args=(self._theirs, *self._arguments))

    def start(self) -> None:
        """Start the process."""
        with _interrupts_ignored():
            self.process.start()
        self._theirs.close()

    def replacement(self) -> "_Worker":
        """Return another one, to start in its place."""
        return _Worker(*self._arguments)

    def begin(self, number: int, jobs: Sequence[Job]) -> None:
        """Send it a job."""
        self.job = number
        # If it has died meanwhile, the next `receive` returns None.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send([str(path) for path in jobs[number]])

    def receive(self) -> dict[str, Any] | None:
        """Return its message, None if it died or could not build its model."""
        try:
            message = json.loads(self.connection.recv())
        except (EOFError, ConnectionResetError):
            return None
        self._unable = message.get("unable")
        return message if self._unable is None else None

    def end(self) -> None:
        """Send it no more jobs, and wait until it has ended."""
        self.connection.close()
        _join([self.process])

    @property
    def fault(self) -> str:
        """Why it ended, for one that did so by itself."""
        if self._unable is not None:
            return self._unable
        code = self.process.exitcode
        ended = f"exit code {code}"
        if code is not None and code < 0:
            ended = signal.Signals(-code).name
        if self.job is None:
            return (
                f"A worker died while it built its model ({ended}), perhaps because the memory "
                "does not suffice for one model each. Try fewer --workers."
            )
        return (
            f"The process that segmented it died ({ended}), perhaps out of memory. Try the input "
            "alone, with fewer --workers, or with a lower --fps."
        )


def _end_all(workers: Sequence[_Worker], owner: int) -> None:
    """Terminate the processes of workers, and wait until they have ended.

    Args:
        workers: Those that have not ended; some may not have started.
        owner: The process that started them: one that was forked from it has no say.
    """
    if os.getpid() != owner:
        return
    started = [worker.process for worker in workers if worker.process.pid is not None]
    try:
        for process in started:
            process.terminate()
    finally:
        _join(started)


def _join(processes: Sequence[BaseProcess]) -> None:
    """Wait until processes have ended; kill them if that takes too long or is interrupted."""
    deadline = time.monotonic() + _END_S
    try:
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Start processes that ignore Ctrl-C: the process that started them ends them."""
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
    """Build a model, and do jobs until the connection is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with results_on_stdout():
        set_threads(threads)
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
    """Exit at once if the process that would collect the results is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
