"""Control points of many clips in one file: found once, gone on with after a kill, used by name."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from coprop_plugin import media
from coprop_plugin.batch import Outcome, find_inputs, fingerprint, names_of, one_line
from coprop_plugin.benchmark.datasets import Sample
from coprop_plugin.benchmark.datasets.open import (
    WorldOptions,
    WorldSamples,
    is_dataset,
    open_folder,
)
from coprop_plugin.control_points.providers import FileProvider
from coprop_plugin.errors import CopropError, DatasetError, MediaError
from coprop_plugin.pipeline.windows import read_audio
from coprop_plugin.types import Clip, ControlPointProvider, ControlPoints, Sampling

FORMAT = "coprop.control_points_set/1"


@dataclass(frozen=True)
class Item:
    """A clip to find control points of.

    Args:
        name: What it is known by.
        path: The file that it is heard from.
        fps: Frames a second, None for all, if it is a video.
        sampling: As in `Clip.from_file`, if it is a video.
        num_frames: How many frames it has, if it is the sound of a data set's clip.
    """

    name: str
    path: Path
    fps: float | None = 1.0
    sampling: Sampling = "pts"
    num_frames: int | None = None

    def clip(self) -> Clip:
        """Return its sound, without pictures.

        Raises:
            MediaError: If it cannot be read.
        """
        if self.num_frames is None:
            return read_audio(self.path, self.fps, self.sampling)
        waveform, sample_rate = media.read_waveform(self.path)
        nothing = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(self.num_frames, 3, 1, 1)
        known = dict(sampling="avsbench", source=self.path, name=self.name)
        return Clip(nothing, waveform, sample_rate, **known)


def find_items(
    paths: Sequence[Path],
    fps: float | None = 1.0,
    sampling: Sampling = "pts",
    split: str | None = None,
) -> list[Item]:
    """Return the clips meant: videos, those in folders, and those of data sets.

    Args:
        paths: Video files, folders of them, and folders of S4, MS3 or AVSS.
        fps: Of videos.
        sampling: Of videos.
        split: Of data sets; None is all.

    Raises:
        MediaError: If a folder holds neither.
        DatasetError: If a data set is not as it should be.
    """
    items: list[Item] = []
    videos: list[Path] = []
    for path in paths:
        if not is_dataset(path):
            videos += find_inputs([path])
            continue
        dataset = open_folder(path, split, size=None)
        items += (
            Item(row.id, dataset.wav_file(row), num_frames=len(dataset.frame_files(row)))
            for row in dataset.rows
        )
    named = zip(names_of(videos), videos, strict=True)
    return items + [Item(name, path, fps, sampling) for name, path in named]


class PointsFile:
    """A file of control points of many clips, being made.

    What is found is added to a journal beside the file at once; the file itself is written when
    all is done. After a kill the journal is gone on with.

    Args:
        path: The file, `points.json` say.
        made_with: What decides the control points.
        redo: Whether to forget what is there.

    Raises:
        MediaError: If the file holds something else, or cannot be written.
    """

    def __init__(self, path: Path, made_with: Mapping[str, Any], redo: bool = False) -> None:
        self.path, self.made_with = path, json.loads(json.dumps(made_with))
        self.clips: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}
        self.journal = path.with_name(f".{path.name}.journal")
        if not redo:
            self._go_on()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if redo:
                self.journal.unlink(missing_ok=True)
            self._file = self.journal.open("a", encoding="utf-8")
            # The last line of a killed run may be half a line.
            self._file.write("\n")
        except OSError as error:
            raise MediaError(
                f"{path} cannot be written ({error.strerror or error}). Name a file in a folder "
                "that you may write to."
            ) from error

    def _go_on(self) -> None:
        before = _read(self.path)
        if self.path.exists() and before.get("made_with") != self.made_with:
            raise MediaError(
                f"{self.path} was made with {before.get('made_with', 'something else')}, not with "
                f"{self.made_with}, and would be lost. Choose another file, or --redo it."
            )
        for content in (before, *_lines(self.journal)):
            clips = content.get("clips")
            if content.get("made_with") == self.made_with and isinstance(clips, dict):
                self.clips |= {name: clip for name, clip in clips.items() if isinstance(clip, dict)}

    def has(self, item: Item) -> bool:
        """Whether the control points of a clip are there, and its file is the same still."""
        return item.name in self.clips and self.clips[item.name].get("heard") == _heard(item)

    def add(self, item: Item, points: ControlPoints, clip: Clip) -> None:
        """Keep the control points of a clip."""
        content = {**points.to_dict(clip.times), "heard": _heard(item)}
        self.clips[item.name] = content
        line = {"made_with": self.made_with, "clips": {item.name: content}}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def fail(self, item: Item, error: str) -> None:
        """Note that no control points could be found of a clip; what was there of it goes."""
        self.clips.pop(item.name, None)
        self.failed[item.name] = error

    def save(self) -> None:
        """Write the file, with what failed; the journal goes."""
        content = {
            "format": FORMAT,
            "made_with": self.made_with,
            "clips": self.clips,
            "failed": self.failed,
        }
        media.write_text(self.path, json.dumps(content, indent=1) + "\n")
        self.close()
        self.journal.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the journal; it stays."""
        self._file.close()


def anchor_into(
    path: Path,
    provider: ControlPointProvider,
    items: Sequence[Item],
    made_with: Mapping[str, Any],
    redo: bool = False,
) -> Iterator[Outcome]:
    """Find the control points of many clips for one file; yields what became of each, in order.

    Args:
        path: The file, for `control_points=` of `wrap` and `coprop run`.
        provider: Who finds them.
        items: The clips; what is in the file already is not asked for again.
        made_with: As in `PointsFile`.
        redo: Whether to begin anew.

    Raises:
        MediaError: If two clips have one name, or the file cannot be written.
    """
    names = [item.name for item in items]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise MediaError(
            f"Got several clips by the names {', '.join(twice[:4])}; wanted one of each in a file "
            "of control points. Rename them, or write a file for each data set."
        )
    with closing(PointsFile(path, made_with, redo)) as file:
        for item in items:
            yield _found(file, provider, item)
        file.save()


def _found(file: PointsFile, provider: ControlPointProvider, item: Item) -> Outcome:
    if file.has(item):
        return Outcome(item.path, "skipped", file.path)
    try:
        clip = item.clip()
        points = provider.propose(clip)
    except (CopropError, OSError) as error:
        file.fail(item, one_line(error))
        return Outcome(item.path, "failed", error=one_line(error))
    file.add(item, points, clip)
    seconds = tuple(float(clip.times[i]) for i in points.indices)
    return Outcome(item.path, "done", file.path, clip.num_frames, points, seconds)


def _heard(item: Item) -> str | None:
    """Return what tells that the file of a clip was changed, wherever the folder lies."""
    stamp = fingerprint(item.path)
    return stamp and stamp.removeprefix(str(item.path.resolve()))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a journal."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict):
            yield content


def samples_of(
    folder: Path | None,
    world: int,
    truth: Path | None,
    fps: float = 1.0,
    frames: int = 10,
    split: str = "test",
) -> Sequence[Sample]:
    """Return clips whose control points are known.

    Args:
        folder: A data set, or a folder of videos.
        world: Or so many test scenes of the made-up world.
        truth: Control points of the videos, for `FileProvider`.
        fps: Of scenes and videos; scenes at 1 are sampled as AVSBench samples.
        frames: Frames a scene.
        split: Of a data set; "all" is all of it.

    Raises:
        DatasetError: If there are no such clips, or not exactly one source of them is named.
        CopropError: If a video, or its truth, cannot be read.
    """
    if (folder is None) == (world == 0):
        raise DatasetError(
            "Name the clips: a data set, a folder of videos with --truth, or --world with a number "
            "of scenes."
        )
    if folder is None:
        sampling = "avsbench" if fps == 1 else "pts"
        options = WorldOptions((56, 80), frames, fps, sampling)
        return WorldSamples(world, options=options)
    if is_dataset(folder):
        return open_folder(folder, None if split == "all" else split, size=None)
    if truth is None:
        raise DatasetError(
            f"{folder} is no data set (S4, MS3, AVSS). Of videos the truth must be given: --truth "
            "points.json, as `coprop anchor -o points.json` writes it."
        )
    known = FileProvider(truth)
    return [_sample(item.clip(), known) for item in find_items([folder], fps or None)]


def _sample(clip: Clip, known: FileProvider) -> Sample:
    """Return a clip with its true control points: in each segment something of its own sounds."""
    points = known.propose(clip)
    segment = points.flags.long().cumsum(0)
    silent = points.silent
    ids = segment if silent is None else segment.where(~silent, torch.zeros_like(segment))
    masks = ids[:, None, None].expand(-1, *clip.size)
    labelled = torch.ones(clip.num_frames, dtype=torch.bool)
    num_classes = len(points) + 1
    return Sample(str(clip.name), clip, masks, labelled, num_classes, control_points=points)
