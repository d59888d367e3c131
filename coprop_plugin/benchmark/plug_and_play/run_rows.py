"""Runs every row of the table over clips with truth."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from coprop_plugin.adapters.recognise import find_backend
from coprop_plugin.benchmark.datasets import Sample
from coprop_plugin.benchmark.metrics import Outcome
from coprop_plugin.benchmark.plug_and_play.bench_report import Report, versions
from coprop_plugin.benchmark.plug_and_play.clip_scores import measure
from coprop_plugin.benchmark.plug_and_play.cost import Cost, measured
from coprop_plugin.benchmark.plug_and_play.journal import Journal, fingerprint, key_of
from coprop_plugin.benchmark.plug_and_play.rows import Row, carriers_of, default_rows
from coprop_plugin.benchmark.plug_and_play.shared_keyframes import SharedKeyframes, TrueKeyframes
from coprop_plugin.control_points.resolve import as_provider
from coprop_plugin.errors import ControlPointError, DatasetError, MetricError
from coprop_plugin.layers.eval_mode import device_of
from coprop_plugin.pipeline import CoProp
from coprop_plugin.pipeline.progress import progress_hook
from coprop_plugin.propagation.resolve import WEIGHTS, as_propagator
from coprop_plugin.types import (
    ControlPoints,
    Hook,
    Propagator,
    SegmentationResult,
)


def plug_and_play(
    data: Mapping[str, Sequence[Sample]],
    backends: Mapping[str, Any],
    rows: Sequence[str] | None = None,
    *,
    propagators: Mapping[str, Propagator] | None = None,
    out: str | Path | None = None,
    redo: bool = False,
    settings: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
    hook: Hook | None = None,
    progress: bool = False,
) -> Report:
    """Score models bare, then with every ingredient of Co-Prop in turn (Table 2 (a), Figure 4).

    Clips are read one at a time. Control points and keyframes of a clip are computed once and
    shared by all rows that need them; each row is billed for them as if it were alone. A clip that
    cannot be read, or a model that raises, becomes a failure in the report; the rest goes on.

    Args:
        data: Sets of clips by name, a data set or a list each. Scores are computed for each set;
            the report has their mean and spread over the sets: other seeds of a made-up world, say.
        backends: Models by name: `KeyframeBackend`s, or what `wrap` recognises.
        rows: Names, see `Row`. By default `default_rows`.
        propagators: Learned ones by the names that rows use. By default the weights that ship, if
            any do, as "learned".
        out: Folder for `records.jsonl`, one line for each clip and row that is done. A run that
            finds its own lines there does not do them again; what changed (weights, options, rows;
            code is not looked at) is done anew. None keeps no record.
        redo: Forget the lines in `out`.
        settings: What decides the clips beside their ids, their size say, in JSON types: part of
            what a line is known by. It goes into the report.
        about: What the report is to tell besides.
        hook: Called as `hook("benchmark", record, done, total)` after each clip and row.
        progress: Whether to show a progress bar on stderr.

    Returns:
        The scores.

    Raises:
        DatasetError: If there are no clips or no backends.
        UnknownNameError: If a row, a provider or a propagator is not known.
        AdapterError: If no adapter recognises a model.
        MediaError: If `out` cannot be written.

    Example:
        >>> from coprop_plugin.types import Clip
        >>> clip = Clip(torch.rand(3, 3, 16, 16), torch.zeros(48_000))
        >>> sample = Sample("a", clip, torch.zeros(3, 16, 16).long(), torch.ones(3).bool(),
        ...                 control_points=ControlPoints([1, 0, 0]))
        >>> class Nothing:
        ...     num_classes = 1
        ...     def segment_keyframes(self, clip, indices):
        ...         return torch.full((len(indices), 1, *clip.size), -9.0)
        >>> report = plug_and_play({"mine": [sample]}, {"nothing": Nothing()}, ["bare"])
        >>> report.scores("nothing", "bare")["M_J"]
        1.0
    """
    if propagators is None:
        propagators = {"learned": as_propagator()} if WEIGHTS.is_file() else {}
    if rows is None:
        rows = default_rows(list(propagators))
    ids = {name: _ids(samples) for name, samples in data.items()}
    if not backends or not rows or not any(ids.values()):
        raise DatasetError("Got no backends, no rows, or no clips: there is nothing to do.")
    bench = _Bench(backends, rows, propagators, dict(settings or {}))
    total = sum(map(len, ids.values())) * len(bench.cells)
    done, failures, records = 0, [], {cell: {} for cell in bench.cells}
    lines = None if out is None else Path(out) / "records.jsonl"
    with progress_hook(hook, progress) as hook, Journal(lines, redo) as journal:
        for set_name, index in ((name, i) for name in data for i in range(len(ids[name]))):
            clip = (set_name, ids[set_name][index])
            read = partial(data[set_name].__getitem__, index)
            for cell, record in bench.scored(clip, read, journal):
                if isinstance(record, Exception):
                    failures.append(_failure(clip, cell, record))
                else:
                    records[cell].setdefault(set_name, []).append(record)
                done += 1
                if hook:
                    hook("benchmark", record, done, total)
    sets = {name: len(clips) for name, clips in ids.items()}
    told = {"sets": sets, "settings": dict(settings or {}), **(about or {})}
    return Report.of(records, failures, {**told, "versions": versions()})


Cell = tuple[str, str]
"""Names of a backend and of a row."""


class _Bench:
    """Models, and how to run each row of the table with them."""

    def __init__(
        self,
        backends: Mapping[str, Any],
        rows: Sequence[str],
        propagators: Mapping[str, Propagator],
        settings: Mapping[str, Any],
    ) -> None:
        self.backends = {name: find_backend(model) for name, model in backends.items()}
        self.rows = {name: Row.of(name) for name in rows}
        self.carriers = carriers_of(list(self.rows.values()), propagators)
        names = {row.points for row in self.rows.values()} - {"oracle"}
        self.providers = {name: as_provider(name) for name in names}
        self.cells = [(backend, row) for backend in self.backends for row in self.rows]
        self._settings = settings
        self._backend_prints = {n: fingerprint(model) for n, model in self.backends.items()}
        self._carrier_prints = {n: fingerprint(model) for n, model in self.carriers.items()}

    def scored(
        self, clip: tuple[str, str], read: Callable[[], Sample], journal: Journal
    ) -> Iterator[tuple[Cell, dict[str, Any] | Exception]]:
        """Yield the record of each cell for one clip (set, id), or what went wrong."""
        work = None
        for cell in self.cells:
            key = self._key(cell, clip)
            record = journal.get(key)
            if record is not None:
                yield cell, record
                continue
            try:
                work = work or _ClipWork(self, read())
                record = work.record(*cell)
            except Exception as error:  # Whatever a reader or a model raises, the rest goes on.
                yield cell, error
                continue
            journal.add(key, record)
            yield cell, record

    def _key(self, cell: Cell, clip: tuple[str, str]) -> str:
        backend, row = cell
        prints = [self._backend_prints[backend], self._carrier_prints[self.rows[row].carrier]]
        return key_of(settings=self._settings, clip=clip, cell=cell, prints=prints)


class _ClipWork:
    """The rows of one clip, and what they share."""

    def __init__(self, bench: _Bench, sample: Sample) -> None:
        self.bench, self.sample = bench, sample
        self.keyframes = {n: SharedKeyframes(b) for n, b in bench.backends.items()}
        self._points: dict[str, tuple[ControlPoints, Cost]] = {}

    def record(self, backend: str, row_name: str) -> dict[str, Any]:
        """Run one row; returns its scores and its cost."""
        row, sample, asked = self.bench.rows[row_name], self.sample, self.keyframes[backend]
        points, cost = self.points(row)
        source = asked
        if row.true_keyframes:
            num_classes = 1 if sample.num_classes == 1 else asked.num_classes
            source = TrueKeyframes(sample.masks, num_classes)
        device = device_of(self.bench.backends[backend])
        model = CoProp(source, points, self.bench.carriers[row.carrier], device, row.reanchor)
        segment = model.segment_bare if row.is_bare else model.segment
        result, own = asked.billed(lambda: segment(sample.clip))
        return measure(outcome_of(result, sample, row)) | asdict(cost + own)

    def points(self, row: Row) -> tuple[ControlPoints, Cost]:
        """Return a row's control points, and what they cost the first time."""
        clip = self.sample.clip
        if row.is_bare:
            return ControlPoints(torch.ones(clip.num_frames)), Cost()
        if row.points == "oracle":
            if self.sample.control_points is None:
                raise ControlPointError(
                    "Nobody knows the true control points of this clip, as not all frames are "
                    "labelled. Leave out the rows with 'oracle', or take another split."
                )
            return self.sample.control_points, Cost()
        if row.points not in self._points:
            provider = self.bench.providers[row.points]
            self._points[row.points] = measured(lambda: provider.propose(clip))
        return self._points[row.points]


def outcome_of(result: SegmentationResult, sample: Sample, row: Row) -> Outcome:
    """Set what a row says of a clip beside what is true.

    Where the truth names no classes, those of the model count as one.

    Raises:
        MetricError: If model and data have different classes.
    """
    num_classes, masks, probs = result.frame_results[0].num_classes, result.masks, result.probs
    if num_classes > 1 and sample.num_classes == 1:
        num_classes, masks, probs = 1, (masks > 0).long(), probs[:, 1:].sum(1, keepdim=True)
    if num_classes not in (1, sample.num_classes):
        raise MetricError(
            f"Got a model of {num_classes} classes for clips with {sample.num_classes}; wanted "
            "the same number, or 1. Take data with the classes that the model was trained on."
        )
    return Outcome(
        masks,
        sample.masks,
        probs.clamp(0, 1),
        num_classes,
        result.clip.times,
        sample.labelled,
        torch.tensor([frame.is_keyframe for frame in result.frame_results]),
        None if row.is_bare else result.control_points,
        sample.control_points,
    )


def _ids(samples: Sequence[Sample]) -> list[str]:
    """Return the names of clips; those of a data set without reading them."""
    ids = getattr(samples, "ids", None)
    return list(ids) if ids is not None else [sample.id for sample in samples]


def _failure(clip: tuple[str, str], cell: Cell, error: Exception) -> dict[str, str]:
    says = " ".join(f"{type(error).__name__}: {error}".split())
    return {"set": clip[0], "clip": clip[1], "backend": cell[0], "row": cell[1], "error": says}
