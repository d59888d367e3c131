"""Many files: what is done is skipped, what fails is listed, and the order is that of the list."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from coprop_plugin import media
from coprop_plugin.batch.inputs import ALL, Shard, names_of
from coprop_plugin.batch.manifest import Manifest
from coprop_plugin.batch.one_file import Job, Options, do_job
from coprop_plugin.batch.outcome import Outcome, one_line
from coprop_plugin.batch.workers import compute_with
from coprop_plugin.errors import CopropError
from coprop_plugin.pipeline import CoProp
from coprop_plugin.pipeline.progress import progress_hook
from coprop_plugin.pipeline.windows import read_audio
from coprop_plugin.types import ControlPointProvider, Sampling

Numbered = Iterator[tuple[int, Outcome]]
"""Outcomes as they come, each with the number of its job."""


def run_many(
    make: Callable[..., CoProp],
    paths: Sequence[Path],
    out: Path,
    options: Options,
    *,
    workers: int = 1,
    engine: Literal["processes", "ray"] = "processes",
    threads: int | None = None,
    shard: Shard = ALL,
    progress: bool = False,
) -> Iterator[Outcome]:
    """Segment files; yields what became of each, in their order. A bad one does not stop the rest.

    Results are in `out`, a folder for each file, and `manifest.jsonl`. Which process does a file
    changes nothing about its result; how many threads it computes with may change the last bit of
    a number, so give `threads` where results of different numbers of workers are compared.

    Args:
        make: Makes the model when called with `number=`, which of several on this machine it is.
            Other processes call it too, so it must be a function of a module, or a
            `functools.partial` of one.
        paths: The files. Results are named after all of them, whatever the share.
        out: The folder for the results.
        options: How to segment, and what to write.
        workers: How many processes, each with its own model; 1 is this process.
        engine: Where they run: `"processes"` on this machine, or `"ray"`, actors of Ray Data.
        threads: Threads that each model computes with; None divides torch's among the workers.
        shard: Which of the files to do.
        progress: Whether to show a progress bar on stderr.

    Raises:
        CopropError: If a model cannot be made.
        MissingExtraError: If `engine` is `"ray"`, and Ray is not installed.
    """
    named = zip(paths, names_of(paths), strict=True)
    jobs = shard.of([Job(path, out / name) for path, name in named])
    manifest = Manifest(out, options.settings, rank=shard.index if shard.count > 1 else None)
    if engine == "ray":
        from coprop_plugin.batch.ray_actors import with_ray

        outcomes = with_ray(make, jobs, options, workers, threads)
    elif workers > 1:
        from coprop_plugin.batch.workers import in_processes

        outcomes = in_processes(make, jobs, options, workers, threads)
    else:
        outcomes = _one_by_one(make, jobs, options, threads, progress)
        progress = False
    yield from _in_order(_recorded(_counted(outcomes, len(jobs), progress), manifest))


def _one_by_one(
    make: Callable[..., CoProp],
    jobs: Sequence[Job],
    options: Options,
    threads: int | None,
    progress: bool,
) -> Numbered:
    if threads is not None:
        compute_with(threads)
    model = make(number=0)
    for number, job in enumerate(jobs):
        yield number, do_job(model, job, options, progress)


def _counted(outcomes: Numbered, total: int, progress: bool) -> Numbered:
    """Show how many are done while waiting for the next one."""
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


def anchor_many(
    provider: ControlPointProvider,
    paths: Sequence[Path],
    out: Path | None,
    fps: float | None,
    sampling: Sampling,
) -> Iterator[Outcome]:
    """Find the control points of files; yields what became of each, in order."""
    for path, name in zip(paths, names_of(paths), strict=True):
        try:
            sound = read_audio(path, fps, sampling)
            points = provider.propose(sound)
            target = None
            if out is not None:
                target = out / f"{name}.json"
                media.write_text(target, json.dumps(points.to_dict(sound.times), indent=1))
            seconds = tuple(float(sound.times[i]) for i in points.indices)
            yield Outcome(path, "done", target, sound.num_frames, points, seconds)
        except (CopropError, OSError) as error:
            yield Outcome(path, "failed", error=one_line(error))
