"""Stores of annotated examples, built from data sets, made-up scenes or a user's own clips."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coprop_plugin import media
from coprop_plugin.benchmark.datasets.open import is_dataset, open_folder
from coprop_plugin.control_points.language.examples import checked_names, length_s
from coprop_plugin.control_points.retrieval import Store
from coprop_plugin.errors import CopropError, DatasetError, MediaError
from coprop_plugin.limits import read_text
from coprop_plugin.pipeline.audio_items import AudioItem
from coprop_plugin.types import Annotation, Clip, ControlPoints
from coprop_plugin.types.timeline import snap
from coprop_plugin.world.objects import KINDS
from coprop_plugin.world.splits import SPLITS, made_up_scene

WORLD = "world"


@dataclass(frozen=True)
class Labelled:
    """A clip's audio with its annotation; `control_points` is None if frames are unlabelled."""

    id: str
    clip: Clip
    categories: tuple[str, ...]
    control_points: ControlPoints | None


@dataclass
class Indexed:
    """A store, and the clips that are not in it.

    Attributes:
        store: The examples.
        skipped: How many clips were left out, by reason.
        failed: Why clips could not be read, by name.
    """

    store: Store = field(default_factory=Store)
    skipped: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def nameless(self) -> int:
        """Number of examples without a category, which are retrieved by their audio alone."""
        return sum(not example.categories for example in self.store)


def index_into(
    out: Path,
    dataset: str,
    split: str | None = "train",
    categories: Path | None = None,
    scenes: int = 200,
    labels: Path | None = None,
    annotations: Mapping[str, Annotation] | None = None,
    videos: Sequence[AudioItem] = (),
) -> Indexed:
    """Annotate a data set and write the store.

    Args:
        out: The store, e.g. `store.jsonl`.
        dataset: The folder of S4, MS3 or AVSS; `"world"`; or a `.jsonl` of a user's own clips with
            lines `{"clip": "a.wav", "categories": ["dog"], "seconds": [0, 3.5]}`, where `seconds`
            are the control points and paths are relative to the file.
        split: Split of a data set on disk; None for all.
        categories: A JSON file of categories by id, `{"id": ["cello", "piano"]}`; by default the
            data set's own.
        scenes: Number of scenes of the made-up world.
        labels: The folder of AVSS, whose labels of the same clips give categories and changes of
            S4 and MS3; their own masks tell only when anything sounds.
        annotations: Hand annotations by the name of the clip, which count before labels.
        videos: Instead of a data set, recordings of which those with an annotation are taken;
            `dataset` is then their description.

    Raises:
        DatasetError: If there is no such data set, or it holds no clip that can be an example.
        MediaError: If the store cannot be written.
    """
    named = None if categories is None else _read_categories(categories)
    indexed = Indexed()
    indexed.store = Store.build(
        _annotated(videos, annotations or {}, indexed.failed)
        if videos
        else _labelled(dataset, split, scenes, labels, annotations or {}, indexed.failed),
        lambda sample: named.get(sample.id, ()) if named is not None else sample.categories,
        skipped=lambda _, reason: indexed.skipped.update([reason]),
    )
    if not len(indexed.store):
        reasons = [*indexed.failed.values(), *indexed.skipped] or ["it is empty"]
        raise DatasetError(f"No clip of {dataset} can be an example: {reasons[0]}.")
    media.write_text(out, indexed.store.text())
    return indexed


def _annotated(
    videos: Sequence[AudioItem], annotations: Mapping[str, Annotation], failed: dict[str, str]
) -> Iterator[Labelled]:
    for item in videos:
        if item.name in annotations:
            try:
                clip = item.clip()
            except (CopropError, OSError) as error:
                failed[item.name] = str(error)
                continue
            yield _with_annotation(item.name, clip, annotations[item.name], ())


def _with_annotation(
    name: str, clip: Clip, annotation: Annotation, otherwise: Sequence[str]
) -> Labelled:
    names = annotation.categories or tuple(otherwise)
    return Labelled(name, clip, names, annotation.control_points(clip))


def _labelled(
    dataset: str,
    split: str | None,
    scenes: int,
    labels: Path | None,
    annotations: Mapping[str, Annotation],
    failed: dict[str, str],
) -> Iterator[Labelled]:
    path = Path(dataset)
    if dataset == WORLD:
        return _scenes(scenes)
    if path.is_dir() and is_dataset(path):
        return _of_folder(path, split, labels, annotations, failed)
    if path.suffix == ".jsonl":
        return _own_clips(path, failed)
    raise DatasetError(
        f"Expected the folder of S4, MS3 or AVSS, {WORLD!r}, or a .jsonl of your own clips, got "
        f"{dataset!r}{'' if path.exists() else ', which does not exist'}. Check the path."
    )


def _scenes(count: int) -> Iterator[Labelled]:
    seeds = SPLITS["train"]
    for seed in seeds[: min(count, len(seeds))]:
        scene = made_up_scene(seed, (16, 16), off_screen=0.0)
        clip = scene.clip(sampling="avsbench")
        names = tuple(KINDS[thing.kind].name for thing in scene.objects if thing.events)
        yield Labelled(f"world-{seed}", clip, names, scene.control_points(clip))


def _of_folder(
    path: Path,
    split: str | None,
    labels: Path | None,
    annotations: Mapping[str, Annotation],
    failed: dict[str, str],
) -> Iterator[Labelled]:
    dataset = open_folder(path, split, size=None, avss_root=labels)
    for index, row in enumerate(dataset.rows):
        try:
            truth = dataset.truth(index)
            clip = AudioItem(row.id, dataset.wav_file(row), num_frames=len(truth.masks)).clip()
        except (CopropError, OSError) as error:
            failed[row.id] = str(error)
            continue
        names = truth.categories or ()
        if row.id in annotations:
            yield _with_annotation(row.id, clip, annotations[row.id], names)
        else:
            yield Labelled(row.id, clip, names, truth.control_points)


def _own_clips(path: Path, failed: dict[str, str]) -> Iterator[Labelled]:
    try:
        lines = read_text(path, DatasetError).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}. Check the path.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            clip = _own_clip(json.loads(line), path.parent)
        except MediaError as error:
            failed[f"line {number}"] = str(error)
        except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise DatasetError(
                f'{path}, line {number} is not a clip: {error}. Expected {{"clip": "a.wav", '
                '"categories": ["dog"], "seconds": [0, 3.5]} with rising seconds.'
            ) from error
        else:
            yield clip


def _own_clip(content: Mapping[str, Any], folder: Path) -> Labelled:
    path = folder / content["clip"]
    waveform, sample_rate = media.read_waveform(path)
    num_frames = max(1, round(len(waveform) / sample_rate))
    clip = AudioItem(path.stem, path, num_frames=num_frames).clip()
    seconds = [second for second in content["seconds"] if 0 < second < length_s(clip)]
    points = ControlPoints.from_indices(snap(seconds, clip), num_frames)
    (name,) = checked_names([str(content.get("id", path.stem))])
    return Labelled(name, clip, tuple(checked_names(content["categories"])), points)


def _read_categories(path: Path) -> dict[str, list[str]]:
    try:
        content = json.loads(read_text(path, DatasetError))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read as JSON: {error}.") from error
    lists = isinstance(content, dict) and all(isinstance(v, list) for v in content.values())
    if not lists or not all(isinstance(name, str) for v in content.values() for name in v):
        raise DatasetError(
            f'Expected categories by id in {path}, like {{"id": ["cello", "piano"]}}.'
        )
    return content
