"""Segmenting many files: finished ones are skipped, failures listed, outcomes kept in order."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from coprop_plugin.batch.inputs import ALL, Shard, distinct
from coprop_plugin.batch.manifest import Manifest
from coprop_plugin.batch.one_file import Job, Options, do_job, finished_before
from coprop_plugin.batch.outcome import Outcome
from coprop_plugin.batch.result_folders import folders_of
from coprop_plugin.batch.workers import in_processes, set_threads
from coprop_plugin.choices import Engine
from coprop_plugin.pipeline import CoProp
from coprop_plugin.pipeline.progress import progress_hook

Numbered = Iterator[tuple[int, Outcome]]
"""Outcomes as they come, each with the number of its job."""


def run_many(
    make: Callable[..., CoProp],
    paths: Sequence[Path],
    out: Path,
    options: Options,
    *,
    workers: int = 1,
    engine: Engine = "processes",
    threads: int | None = None,
    shard: Shard = ALL,
    progress: bool = False,
) -> Iterator[Outcome]:
    """Segment files; yields their outcomes, in order. A failure does not stop the others.

    Finished files are skipped first: if all are, no model is built.
    Writes a folder for each file, and `manifest.jsonl`, into `out`. Results do not depend on the
    process that a file runs in; the number of threads may change the last bit of a number, so set
    `threads` to compare results of different numbers of workers.

    Args:
        make: Builds the model; called with `number=`, the number of the model on this machine.
            Other processes call it too, so it must be a function of a module, or a
            `functools.partial` of one.
        paths: The files; one that is listed twice is segmented once. Results are named after all of
            them, whatever the share: see `folders_of`.
        out: Folder of the results.
        options: How to segment, and what to write.
        workers: Number of processes, each with its own model; 1 uses this process.
        engine: Where workers run, see `Engine`.
        threads: Threads of each model; None divides torch's among the workers.
        shard: The share of the files to segment.
        progress: Whether to show a progress bar on stderr.

    Raises:
        CopropError: If a model cannot be built.
        MissingExtraError: If `engine` is `"ray"`, and Ray is not installed.
    """
    paths = distinct(paths)
    jobs = shard.of([Job(*job) for job in zip(paths, folders_of(paths, out), strict=True)])
    manifest = Manifest(out, options.settings, rank=shard.index if shard.count > 1 else None)
    skipped, left = _finished(jobs, options)
    outcomes = _outcomes(make, [jobs[n] for n in left], options, workers, engine, threads, progress)
    # One process shows the progress of each file instead.
    progress = progress and (workers > 1 or engine == "ray")
    counted = _counted(((left[n], outcome) for n, outcome in outcomes), len(left), progress)
    yield from _in_order(_recorded(itertools.chain(skipped.items(), counted), manifest))


def _finished(jobs: Sequence[Job], options: Options) -> tuple[dict[int, Outcome], list[int]]:
    """Return the outcomes of finished jobs by number, and the numbers of the others."""
    before = {number: finished_before(job, options) for number, job in enumerate(jobs)}
    skipped = {number: outcome for number, outcome in before.items() if outcome is not None}
    return skipped, [number for number in before if number not in skipped]


def _outcomes(
    make: Callable[..., CoProp],
    jobs: Sequence[Job],
    options: Options,
    workers: int,
    engine: Engine,
    threads: int | None,
    progress: bool,
) -> Numbered:
    if not jobs:
        return iter(())
    if engine == "ray":
        from coprop_plugin.batch.ray_actors import with_ray

        return with_ray(make, jobs, options, workers, threads)
    if workers > 1:
        return in_processes(make, jobs, options, workers, threads)
    return _one_by_one(make, jobs, options, threads, progress)


def _one_by_one(
    make: Callable[..., CoProp],
    jobs: Sequence[Job],
    options: Options,
    threads: int | None,
    progress: bool,
) -> Numbered:
    if threads is not None:
        set_threads(threads)
    model = make(number=0)
    for number, job in enumerate(jobs):
        yield number, do_job(model, job, options, progress)


def _counted(outcomes: Numbered, total: int, progress: bool) -> Numbered:
    """Show how many jobs are done while waiting for the next one."""
    for done in range(total):
        with progress_hook(None, progress) as hook:
            if hook:
                hook("inputs", None, done, total)
            arrived = next(outcomes, None)
        if arrived is None:
            return
        yield arrived


def _recorded(outcomes: Numbered, manifest: Manifest) -> Numbered:
    for number, outcome in outcomes:
        manifest.add(outcome)
        yield number, outcome


def _in_order(outcomes: Numbered) -> Iterator[Outcome]:
    """Yield outcomes in the order of their numbers 0, 1, .."""
    held: dict[int, Outcome] = {}
    wanted = 0
    for number, outcome in outcomes:
        held[number] = outcome
        while wanted in held:
            yield held.pop(wanted)
            wanted += 1
