"""Jobs shared among actors of Ray Data, on one machine or on a cluster."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from coprop_plugin.batch.one_file import Job, Options, do_job
from coprop_plugin.batch.outcome import Outcome
from coprop_plugin.batch.workers import set_threads, threads_of, to_message
from coprop_plugin.errors import MissingExtraError
from coprop_plugin.pipeline import CoProp

# A file that kills its actor would kill the next one, too.
_NO_SECOND_TRY = {"max_restarts": -1, "max_task_retries": 0}


class Segmenter:
    """An actor: builds its model once, then does one job per call."""

    def __init__(self, make: Callable[..., CoProp], options: Options, threads: int) -> None:
        set_threads(threads)
        self.model, self.options = make(number=0), options

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do the job of a row; returns its number, and its outcome as text."""
        # Ray starts actors in a folder of its own.
        with contextlib.chdir(row["from"]):
            outcome = do_job(self.model, Job(Path(row["path"]), Path(row["folder"])), self.options)
        return {"number": row["number"], "message": to_message(outcome)}


def with_ray(
    make: Callable[..., CoProp],
    jobs: Sequence[Job],
    options: Options,
    workers: int,
    threads: int | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Do jobs in a pool of Ray Data actors; yields outcomes as they come.

    Uses the current cluster (`RAY_ADDRESS`, `ray job submit`), or starts Ray on this machine and
    stops it afterwards. On a cluster all paths must be valid on every machine, and the library
    must be installed there. A job whose actor dies has failed.

    Args:
        make: As in `run_many`.
        jobs: The inputs and the folders of their results.
        options: How to segment, and what to write.
        workers: Number of actors; each takes `threads` CPUs, and a GPU if there are any.
        threads: Threads of each actor; None divides torch's among them.

    Yields:
        The number of a job and its outcome.

    Raises:
        MissingExtraError: If Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "--engine ray needs Ray, which is not installed. Run `pip install coprop-plugin[ray]`, "
            "or leave --engine out to use processes of this machine."
        ) from error
    threads = threads or threads_of(workers)
    missing = set(range(len(jobs)))
    with _running(ray):
        # One block per job, so that an actor's death costs one job.
        ray.data.DataContext.get_current().max_errored_blocks = -1
        rows = [
            {"number": n, "path": str(job.path), "folder": str(job.folder), "from": os.getcwd()}
            for n, job in enumerate(jobs)
        ]
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            Segmenter,
            fn_constructor_args=(make, options, threads),
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(jobs))),
            num_cpus=threads,
            num_gpus=1 if ray.cluster_resources().get("GPU") else 0,
            **_NO_SECOND_TRY,
        )
        for row in done.iter_rows():
            message = json.loads(row["message"])
            missing.discard(row["number"])
            yield row["number"], Outcome.from_dict(message["outcome"], message["took_s"])
    for number in sorted(missing):
        yield (
            number,
            Outcome(
                jobs[number].path,
                "failed",
                error="The Ray actor that segmented it died, perhaps out of memory. Try the input "
                "alone, with fewer --workers, or with a lower --fps.",
            ),
        )


@contextlib.contextmanager
def _running(ray: Any) -> Iterator[None]:
    ours = not ray.is_initialized()
    if ours:
        ray.init(log_to_driver=True, include_dashboard=False)
    try:
        yield
    finally:
        if ours:
            ray.shutdown()
