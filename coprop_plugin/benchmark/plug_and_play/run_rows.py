"""Running every row of the table on clips with truth."""

import logging
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from coprop_plugin.adapters.recognise import find_backend
from coprop_plugin.benchmark.datasets import Sample, Samples
from coprop_plugin.benchmark.metrics import Outcome
from coprop_plugin.benchmark.plug_and_play.bench_report import Report, versions, versions_stamp
from coprop_plugin.benchmark.plug_and_play.clip_scores import ClipScores
from coprop_plugin.benchmark.plug_and_play.cost import Cost, measured
from coprop_plugin.benchmark.plug_and_play.fingerprints import clip_fingerprint, fingerprint
from coprop_plugin.benchmark.plug_and_play.record_file import RecordFile, key_of
from coprop_plugin.benchmark.plug_and_play.rows import (
    ORACLE,
    Row,
    default_rows,
    propagators_of,
)
from coprop_plugin.benchmark.plug_and_play.shared_keyframes import (
    KEPT_BYTES,
    SharedKeyframes,
    TrueKeyframes,
)
from coprop_plugin.benchmark.plug_and_play.worst_clips import (
    ScoredClip,
    with_worst,
    worst_picture,
)
from coprop_plugin.benchmark.plug_and_play.wrong_keyframes import (
    WrongKeyframes,
    checked_share,
    wrong_name,
)
from coprop_plugin.control_points.resolve import as_provider
from coprop_plugin.errors import (
    ControlPointError,
    CopropError,
    DatasetError,
    MetricError,
    short_reason,
)
from coprop_plugin.layers.eval_mode import device_of
from coprop_plugin.pipeline import ClipInHand, CoProp, bare_frames
from coprop_plugin.pipeline.preset_options import PRESETS
from coprop_plugin.pipeline.progress import progress_hook
from coprop_plugin.propagation.resolve import WEIGHTS, as_propagator
from coprop_plugin.types import (
    ControlPointProvider,
    ControlPoints,
    FrameResult,
    Hook,
    KeyframeBackend,
    NamingBackend,
    Propagator,
    SharingBackend,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchLimits:
    """How much of a clip `plug_and_play` holds in memory, whatever its length.

    Args:
        piece_pixels: Frames are scored in pieces of so many pixels: 41 frames of 224 x 224.
        kept_bytes: Of the logits that rows share, see `SharedKeyframes`.
    """

    piece_pixels: int = 2**21
    kept_bytes: int = KEPT_BYTES


def plug_and_play(
    data: Mapping[str, Samples],
    backends: Mapping[str, Any],
    rows: Sequence[str] | None = None,
    *,
    propagators: Mapping[str, Propagator] | None = None,
    providers: Mapping[str, ControlPointProvider] | None = None,
    out: str | Path | None = None,
    redo: bool = False,
    wrong: float = 0.0,
    worst: int = 0,
    settings: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
    limits: BenchLimits | None = None,
    hook: Hook | None = None,
    progress: bool = False,
) -> Report:
    """Score models bare and with each part of Co-Prop (Table 2 (a), Figure 4).

    Clips are read one at a time. Control points and keyframes of a clip are computed once and
    shared by all rows that need them; their cost is counted for each row as if it were alone. A
    clip that cannot be read, or a model that raises, is a failure in the report; the others go on.

    Args:
        data: Sets of clips by name, each a data set or a list. Scores are computed per set; the
            report has their mean and standard deviation over the sets, e.g. over seeds of the
            made-up world.
        backends: Models by name: `KeyframeBackend`s, or models that `wrap` recognises.
        rows: Names of rows, see `Row`. By default `default_rows`.
        propagators: Trained propagators by the names that rows use. By default the weights that
            ship, if any, as "learned".
        providers: Control-point providers by the names that rows use, besides those that are
            registered and need no argument.
        out: Folder for `records.jsonl`, one line for each clip and row that is done. A rerun skips
            these unless something differs on which they depend, see `fingerprint`: weights and
            options of model and propagator; provider, prompts, examples and language model. None
            keeps no records.
        redo: Whether to discard the records in `out`.
        wrong: If above 0, each model is scored a second time with this share of its predictions
            replaced by wrong masks, see `WrongKeyframes` and `losses`.
        worst: Of each backend and row, so many clips with the lowest M_J are segmented again for a
            picture in the report: `worst` of a result lists `set`, `clip`, `M_J` and `picture`.
        settings: Options that decide the clips besides their ids, e.g. their size, in JSON types;
            part of the key of a record, and of the report.
        about: What else to put into the report.
        limits: How much of a long clip is held in memory.
        hook: Called as `hook("benchmark", record, done, total)` after each clip and row.
        progress: Whether to show a progress bar on stderr.

    Returns:
        The scores.

    Raises:
        DatasetError: If there are no clips or no backends, or `wrong` is not in 0..1.
        UnknownNameError: If a row, a provider or a propagator is unknown.
        ArgumentError: If the provider of a row needs an argument, which the message names.
        AdapterError: If no adapter recognises a model.
        MediaError: If `out` cannot be written, or another process is writing it.

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
        propagators = {"learned": as_propagator("learned")} if WEIGHTS.is_file() else {}
    if rows is None:
        rows = default_rows(list(propagators), list(providers or {}))
    ids = {name: _ids(samples) for name, samples in data.items()}
    if not backends or not rows or not any(ids.values()):
        raise DatasetError("Expected backends, rows and clips, got none of one: nothing to do.")
    bench = _Bench(
        backends, rows, propagators, providers or {}, dict(settings or {}), wrong, limits
    )
    total = sum(map(len, ids.values())) * len(bench.cells)
    done, failures = 0, []
    records: dict[Cell, dict[str, list[dict[str, Any]]]] = {cell: {} for cell in bench.cells}
    places: dict[Cell, list[ScoredClip]] = {cell: [] for cell in bench.cells}
    path = None if out is None else Path(out) / "records.jsonl"
    with progress_hook(hook, progress) as hook, RecordFile(path, redo) as file:
        for set_name, index in ((name, i) for name in data for i in range(len(ids[name]))):
            clip = (set_name, ids[set_name][index])
            read = partial(data[set_name].__getitem__, index)
            for cell, record in bench.scored(clip, read, file):
                if isinstance(record, Exception):
                    failures.append(_failure(clip, cell, record))
                else:
                    records[cell].setdefault(set_name, []).append(record)
                    if record.get("audio", "original") == "original":
                        places[cell].append((record["masks"]["M_J"], set_name, index))
                done += 1
                if hook:
                    hook("benchmark", record, done, total)
    sets = {name: len(clips) for name, clips in ids.items()}
    content = {"sets": sets, "settings": dict(settings or {}), "wrong": wrong, **(about or {})}
    content["versions"] = versions()
    report = Report.of(records, failures, content, {c: bench.prints(c) for c in bench.cells})
    return with_worst(
        report, places, worst, lambda cell, name, i: bench.picture(cell, data[name][i]), ids
    )


Cell = tuple[str, str]
"""A backend, as `wrong_name` calls it, and a row, by name."""

ClipKey = tuple[str, str]
"""A set of clips and the id of one of its clips."""


class _Bench:
    """The parts of all rows, and their fingerprints."""

    def __init__(
        self,
        backends: Mapping[str, Any],
        rows: Sequence[str],
        propagators: Mapping[str, Propagator],
        providers: Mapping[str, ControlPointProvider],
        settings: Mapping[str, Any],
        wrong: float,
        limits: BenchLimits | None,
    ) -> None:
        self.limits = limits or BenchLimits()
        self.backends = {name: find_backend(model) for name, model in backends.items()}
        self.rows = {row.name: row for row in (Row.of(name, providers) for name in rows)}
        self.propagators = propagators_of(list(self.rows.values()), propagators)
        for backend in self.backends.values():
            if isinstance(backend, SharingBackend):
                for propagator in self.propagators.values():
                    backend.share_model(propagator)
        names = sorted({row.points for row in self.rows.values()} - {ORACLE})
        self.providers = {name: providers.get(name) or as_provider(name) for name in names}
        # What is scored, by its name in the table: a backend and the share of wrong predictions.
        self.scored_backends = {
            wrong_name(name, share): (name, share)
            for name in self.backends
            for share in dict.fromkeys((0.0, checked_share(wrong)))
        }
        self.cells = [(name, row) for name in self.scored_backends for row in self.rows]
        self._settings = settings
        self._backend_prints = {n: fingerprint(m) for n, m in self.backends.items()}
        self._propagator_prints = {n: fingerprint(m) for n, m in self.propagators.items()}
        self._provider_prints = {n: fingerprint(p) for n, p in self.providers.items()}

    def scored(
        self, clip: ClipKey, read: Callable[[], Sample], file: RecordFile
    ) -> Iterator[tuple[Cell, dict[str, Any] | Exception]]:
        """Yield the record of each cell for one clip, or the exception that it raised."""
        work = None
        for cell in self.cells:
            key = self._key(cell, clip)
            record = file.get(key)
            if record is not None:
                yield cell, record
                continue
            try:
                work = work or _ClipWork(self, read())
                record = work.record(*cell)
            except Exception as error:  # A reader or a model may raise anything.
                if not isinstance(error, CopropError | OSError):
                    logger.exception("%s failed on %s", " ".join(cell), " ".join(clip))
                yield cell, error
                continue
            file.add(key, record)
            yield cell, record

    def prints(self, cell: Cell) -> dict[str, str | None]:
        """Return the fingerprints of a cell's parts."""
        (backend, _), row = self.scored_backends[cell[0]], self.rows[cell[1]]
        return {
            "backend": self._backend_prints[backend],
            "propagator": self._propagator_prints[row.propagator],
            "provider": self._provider_prints.get(row.points),
        }

    def picture(self, cell: Cell, sample: Sample) -> str:
        """Segment a clip once more; returns a picture of it, see `worst_picture`."""
        work = _ClipWork(self, sample)
        points, _, shared = work.prepared(*cell)
        frames, _ = work.frames(*cell, points, shared)
        return worst_picture(sample.clip, frames, sample.masks)

    def _key(self, cell: Cell, clip: ClipKey) -> str:
        row = self.rows[cell[1]]
        prints: list[Any] = list(self.prints(cell).values())
        if row.preset:
            # Another version may have other defaults.
            prints.append(asdict(PRESETS[row.preset]))
        return key_of(settings=self._settings, clip=clip, cell=cell, prints=prints)


class _ClipWork:
    """The rows of one clip, and the control points and keyframes that they share."""

    def __init__(self, bench: _Bench, sample: Sample) -> None:
        self.bench, self.sample = bench, sample
        self.keyframes = {n: self._shared(b) for n, b in bench.backends.items()}
        self._points: dict[str, tuple[ControlPoints, Cost]] = {}
        # Of backends whose classes are names: named control points of a row, and its keyframes.
        self._named: dict[tuple[str, str], tuple[ControlPoints, Cost]] = {}
        self._named_keyframes: dict[tuple[str, str], SharedKeyframes] = {}
        clip_sha256 = clip_fingerprint(sample.clip.frames, sample.clip.waveform, sample.masks)
        self._stamps = {"clip_sha256": clip_sha256, "versions": versions_stamp()}

    def _shared(self, backend: KeyframeBackend) -> SharedKeyframes:
        return SharedKeyframes(backend, self.bench.limits.kept_bytes)

    def record(self, name: str, row_name: str) -> dict[str, Any]:
        """Run one row, a piece of the clip at a time; returns its scores and its cost."""
        sample, scores, num_used = self.sample, ClipScores(), 0
        points, cost, shared = self.prepared(name, row_name)
        frames, points = self.frames(name, row_name, points, shared)
        height, width = sample.clip.size
        size = max(1, self.bench.limits.piece_pixels // (height * width))
        for _ in range(0, sample.num_frames, size):
            piece, own = shared.cost_alone(lambda: list(islice(frames, size)))
            cost, num_used = cost + own, num_used + shared.num_used
            scores.add(outcome_of(piece, sample))
        found = None if self.bench.rows[row_name].is_bare else points
        about = {"calls": num_used / sample.num_frames, "audio": sample.audio, **self._stamps}
        return scores.record(found, sample.control_points) | asdict(cost) | about

    def frames(
        self, name: str, row_name: str, points: ControlPoints, shared: SharedKeyframes
    ) -> tuple[Iterator[FrameResult], ControlPoints]:
        """Return one row's results, frame by frame as they are made, and its control points."""
        backend, wrong = self.bench.scored_backends[name]
        row, sample = self.bench.rows[row_name], self.sample
        keyframes: KeyframeBackend = shared
        if row.true_keyframes:
            num_classes = 1 if sample.num_classes == 1 else shared.num_classes
            keyframes = TrueKeyframes(sample.masks, num_classes)
        if wrong:
            seed = zlib.crc32(sample.id.encode())
            keyframes = WrongKeyframes(keyframes, wrong, seed, sample.silent_objects)
        device = device_of(self.bench.backends[backend])
        propagator = self.bench.propagators[row.propagator]
        options: dict[str, Any] = dict(reanchor=row.reanchor, keyframe=row.keyframe)
        if row.preset:
            options = dict(preset=row.preset)
        model = CoProp(keyframes, as_provider(points), propagator, device, **options)
        if row.is_bare:
            return bare_frames(keyframes, sample.clip), points
        points = model.anchor(sample.clip)
        return model.stream_part(ClipInHand(sample.clip), points), points

    def prepared(self, name: str, row_name: str) -> tuple[ControlPoints, Cost, SharedKeyframes]:
        """Return a row's control points, what they cost, and the keyframes of a backend.

        A backend whose classes are names finds what sounds in the segment of a keyframe, as in a
        run; alone, without segments, what sounds around each frame.
        """
        name, row = self.bench.scored_backends[name][0], self.bench.rows[row_name]
        backend = self.bench.backends[name]
        points, cost = self.points(row, backend)
        if row.is_bare or not isinstance(backend, NamingBackend):
            return points, cost, self.keyframes[name]
        key = (name, self._points_name(row, backend))
        if key not in self._named:
            clip = self.sample.clip
            named, more = measured(lambda: backend.name_sounds(clip, points))
            self._named[key] = named, cost + more
            self._named_keyframes[key] = self._shared(backend.for_clip(named, clip.times))
        return *self._named[key], self._named_keyframes[key]

    def points(self, row: Row, backend: KeyframeBackend) -> tuple[ControlPoints, Cost]:
        """Return a row's control points, and what computing them cost."""
        clip = self.sample.clip
        if row.is_bare:
            return ControlPoints(torch.ones(clip.num_frames)), Cost()
        if row.points == ORACLE:
            if self.sample.control_points is None:
                raise ControlPointError(
                    "The true control points of this clip are unknown, as not all its frames are "
                    "labelled. Leave out the rows with 'oracle', or use another split."
                )
            return self.sample.control_points, Cost()
        name = self._points_name(row, backend)
        provider = self.bench.providers[row.points]
        if isinstance(backend, NamingBackend) and name != row.points:
            provider = backend.control_points
        if name not in self._points:
            self._points[name] = measured(lambda: provider.propose(clip))
        return self._points[name]

    def _points_name(self, row: Row, backend: KeyframeBackend) -> str:
        """Return what tells a row's control points from those of other rows."""
        own = row.preset and PRESETS[row.preset].control_points is None
        return f"of {id(backend)}" if own and isinstance(backend, NamingBackend) else row.points


def outcome_of(results: Sequence[FrameResult], sample: Sample) -> Outcome:
    """Return the predictions of consecutive frames beside the truth.

    If the truth is binary, all classes of the model count as one.

    Raises:
        MetricError: If model and data have different numbers of classes.
    """
    num_classes = results[0].num_classes
    masks = torch.stack([frame.mask for frame in results]).long()
    rows = slice(results[0].index, results[-1].index + 1)
    if num_classes > 1 and sample.num_classes == 1:
        num_classes, masks = 1, (masks > 0).long()
    if num_classes not in (1, sample.num_classes):
        raise MetricError(
            f"Expected a model of {sample.num_classes} classes, as the clips have, or of 1, got "
            f"one of {num_classes}. Use data with the classes that the model was trained on."
        )
    return Outcome(
        masks,
        sample.masks[rows],
        torch.stack([frame.sounding_prob for frame in results])[:, None],
        num_classes,
        sample.clip.times[rows],
        sample.labelled[rows],
        torch.tensor([frame.is_keyframe for frame in results]),
    )


def _ids(samples: Samples) -> list[str]:
    """Return the names of clips, of a data set without reading them."""
    ids = getattr(samples, "ids", None)
    return [samples[i].id for i in range(len(samples))] if ids is None else list(ids)


def _failure(clip: ClipKey, cell: Cell, error: Exception) -> dict[str, str]:
    message = f"{type(error).__name__}: {short_reason(error, limit=None)}"
    return {"set": clip[0], "clip": clip[1], "backend": cell[0], "row": cell[1], "error": message}
