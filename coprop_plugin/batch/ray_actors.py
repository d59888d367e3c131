"""Jobs shared among the actors of Ray Data, on one machine or all over a cluster."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from coprop_plugin.batch.one_file import Job, Options, do_job
from coprop_plugin.batch.outcome import Outcome
from coprop_plugin.batch.workers import compute_with, threads_of, to_message
from coprop_plugin.errors import MissingExtraError
from coprop_plugin.pipeline import CoProp

# A file that ends its actor ends the next one, too.
_NO_SECOND_TRY = {"max_restarts": -1, "max_task_retries": 0}


class Segmenter:
    """An actor: makes its model once, then does the jobs that come."""

    def __init__(self, make: Callable[..., CoProp], options: Options, threads: int) -> None:
        compute_with(threads)
        self.model, self.options = make(number=0), options

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do the job of a row; returns its number and its outcome as text."""
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

    Uses the cluster that is there (`RAY_ADDRESS`, `ray job submit`), or starts Ray on this machine
    and ends it afterwards. On a cluster all paths must mean the same on every machine, and the
    library must be installed there. A job whose actor dies is a failure.

    Args:
        make: As in `run_many`.
        jobs: What to do.
        options: How.
        workers: How many actors; each takes `threads` CPUs, and a GPU where there are any.
        threads: Of each actor; None divides torch's among them.

    Yields:
        The number of a job and its outcome.

    Raises:
        MissingExtraError: If Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "Got --engine ray, and Ray is not installed. Run `pip install coprop-plugin[ray]`, or "
            "leave --engine out to use processes of this machine."
        ) from error
    if not jobs:
        return
    threads = threads or threads_of(workers)
    missing = set(range(len(jobs)))
    with _running(ray):
        # A block a job, so that whatever ends an actor ends one job.
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
            says = json.loads(row["message"])
            missing.discard(row["number"])
            yield row["number"], Outcome.from_dict(says["outcome"], says["took_s"])
    for number in sorted(missing):
        yield (
            number,
            Outcome(
                jobs[number].path,
                "failed",
                error="The Ray actor that segmented it ended, for want of memory perhaps. Try it "
                "alone, with fewer --workers or a lower --fps.",
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
