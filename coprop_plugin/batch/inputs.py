"""The input files: finding them, naming their results, and the share of this process."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from coprop_plugin import media
from coprop_plugin.checkpoints import WEIGHTS_FILE
from coprop_plugin.errors import MediaError, some_names
from coprop_plugin.limits import read_bytes
from coprop_plugin.pipeline.audio_items import AudioItem
from coprop_plugin.registry import list_propagators
from coprop_plugin.types import DEFAULT_TRACKS, Sampling, Tracks

VIDEO_SUFFIXES = frozenset(
    ".3g2 .3gp .asf .avi .dv .f4v .flv .m2ts .m2v .m4v .mkv .mod .mov .mp4 .mpeg .mpg .mts .mxf "
    ".ogm .ogv .qt .ts .vob .webm .wmv".split()
)
# The environment variables with a process's number in its group and the size of the group, of
# torchrun and of SLURM; the first pair that is set counts.
_GROUPS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """The share of one process among several: every `count`-th input, from number `index` on.

    Example:
        >>> Shard(1, 3).of("abcdefgh")
        ['b', 'e', 'h']
    """

    index: int = 0
    count: int = 1

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Return the items of this share, in order."""
        return list(items[self.index :: self.count])

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `"1/3"`: the second of three shares.

        Raises:
            MediaError: If it is not a share.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not int(match[1]) < int(match[2]):
            raise MediaError(
                "Expected a share as INDEX/COUNT with INDEX from 0 to COUNT - 1, got "
                f"{text!r}. Four processes take 0/4, 1/4, 2/4 and 3/4; 0/1 is everything."
            )
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Shard":
        """Return the share that torchrun or SLURM's srun assigns to this process, else all.

        Raises:
            MediaError: If their environment variables are not a share.

        Example:
            >>> Shard.from_environment({"RANK": "1", "WORLD_SIZE": "2"})
            Shard(index=1, count=2)
            >>> Shard.from_environment({})
            Shard(index=0, count=1)
        """
        for index, count in _GROUPS:
            if index in environment and count in environment:
                return cls.parse(f"{environment[index]}/{environment[count]}")
        return cls()


ALL = Shard()


def find_inputs(paths: Sequence[Path]) -> list[Path]:
    """Return the input files, each once: files as they are, folders as their videos, sorted.

    Hidden files, e.g. `._talk.mp4` of a Mac, and folders in a folder of videos are left out. A
    folder without videos is a folder of frames, or stands for those in it.

    A text file, which ends in `.txt` or has an `@` in front, stands for its lines, each a file or
    folder; empty lines and lines that begin with `#` are skipped.

    Raises:
        MediaError: If a folder holds no video, or a list cannot be read or names nothing.

    Warns:
        MediaWarning: If there are more videos in folders of a folder of videos.
    """
    found: list[Path] = []
    for path in _listed(paths):
        if not path.is_dir():
            found.append(path)
            continue
        videos = _videos_in(path)
        if videos:
            _warn_of_folders(path)
        clips = videos or _frame_folders(path)
        if not clips:
            raise MediaError(
                f"The folder {path} holds no video ({', '.join(sorted(VIDEO_SUFFIXES))}) and no "
                "frames. Name the files themselves if they have other suffixes."
            )
        found += clips
    return distinct(found)


def _videos_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in VIDEO_SUFFIXES
        and not path.name.startswith(".")
        and not path.is_dir()
    )


def _folders_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _warn_of_folders(path: Path) -> None:
    left = [folder.name for folder in _folders_in(path) if _videos_in(folder)]
    if left:
        warnings.warn(
            f"{path} holds videos, and so do the folders {some_names(left, 5)} in it, which "
            "are left out. Name them as well to segment theirs.",
            media.MediaWarning,
            stacklevel=3,
        )


def _frame_folders(path: Path, depth: int = 4) -> list[Path]:
    """Return a folder of frames itself, or those in it, sorted."""
    if media.frame_paths(path):
        return [path]
    folders = _folders_in(path) if depth else []
    return [found for p in folders for found in _frame_folders(p, depth - 1)]


def distinct(paths: Iterable[Path]) -> list[Path]:
    """Return paths without those of a file that came before, under this name or another.

    Example:
        >>> [path.name for path in distinct([Path("a.mp4"), Path("b.mp4"), Path("x/../a.mp4")])]
        ['a.mp4', 'b.mp4']
    """
    first: dict[str, Path] = {}
    for path in paths:
        first.setdefault(os.path.realpath(path), path)
    return list(first.values())


def _listed(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        is_list = str(path).startswith("@") and not path.exists()
        if is_list or path.suffix.lower() == ".txt":
            found += _lines_of(Path(str(path).removeprefix("@")) if is_list else path)
        else:
            found.append(path)
    return found


def _lines_of(path: Path) -> list[Path]:
    try:
        # File names are bytes: one that is not UTF-8 is still a name.
        text = read_bytes(path, MediaError).decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise MediaError(
            f"The list {path} cannot be read ({error}). Expected a text file with one path a line."
        ) from error
    if "\0" in text:
        raise MediaError(f"The list {path} is not text. Expected a text file with one path a line.")
    lines = text.splitlines()
    named = [Path(line.strip()) for line in lines if line.strip() and line[0] != "#"]
    if not named:
        raise MediaError(f"The list {path} names nothing. Expected one path a line.")
    return named


def names_of(paths: Sequence[Path]) -> list[str]:
    """Name inputs by their stem; by their whole name where stems clash, numbered if those do.

    Example:
        >>> names_of([Path("a/x.mp4"), Path("b/x.mp4"), Path("y.mp4")])
        ['x.mp4', 'x.mp4-2', 'y']
    """
    stems = Counter(path.stem for path in paths)
    names: dict[str, None] = {}
    for path in paths:
        name = path.stem if stems[path.stem] == 1 else path.name
        number = 2
        while name in names:
            name = f"{path.name}-{number}"
            number += 1
        names[name] = None
    return list(names)


def named_videos(
    paths: Sequence[Path],
    fps: float | None = 1.0,
    sampling: Sampling = "pts",
    tracks: Tracks = DEFAULT_TRACKS,
) -> list[AudioItem]:
    """Return video files under the names of their results, to read their audio alone.

    Args:
        paths: Video files.
        fps: Frames a second; None for all.
        sampling: As in `Clip.from_file`.
        tracks: Which tracks to read.
    """
    named = zip(names_of(paths), paths, strict=True)
    return [AudioItem(name, path, fps, sampling, tracks) for name, path in named]


def video_items(
    paths: Sequence[Path],
    fps: float | None = 1.0,
    sampling: Sampling = "pts",
    tracks: Tracks = DEFAULT_TRACKS,
) -> list[AudioItem]:
    """Return the videos of `find_inputs` as `named_videos`.

    Raises:
        MediaError: As `find_inputs`.
    """
    return named_videos(find_inputs(paths), fps, sampling, tracks)


def tracks_for(
    inputs: Sequence[Path],
    audio_track: str | None = None,
    video_track: str | None = None,
    audio: Path | None = None,
) -> Tracks:
    """Return the tracks that options of the command line choose.

    Raises:
        MediaError: If an audio file is given for several inputs, or does not exist.
    """
    if audio is not None:
        media.refuse_missing(audio)
        if len(inputs) != 1:
            raise MediaError(
                f"Expected one input for the audio file {audio}, got {len(inputs)}. Segment the "
                "others separately, each with its own --audio."
            )
    return Tracks(video_track, audio_track, audio)


def fingerprint(path: str | Path | None) -> str | None:
    """Return path, size and time of a file or a folder of weights, which tell if it was changed."""
    if path is None:
        return None
    found = _split(str(path))[1]
    if not found.exists():
        return None
    weights = found / WEIGHTS_FILE
    stat = (weights if weights.exists() else found).stat()
    return f"{found.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"


def located(spec: str | None) -> str | None:
    """Make the path of a file or folder absolute, also after a name; other texts stay as they are.

    Example:
        >>> located("flow"), located("hf://owner/name"), located("sam2:facebook/sam2.1-hiera-large")
        ('flow', 'hf://owner/name', 'sam2:facebook/sam2.1-hiera-large')
    """
    if spec is None or spec in list_propagators():
        return spec
    name, path = _split(spec)
    return f"{name}{path.resolve()}" if path.exists() else spec


def _split(spec: str) -> tuple[str, Path]:
    """Split "NAME:PATH" after the colon, where the name is that of a propagator."""
    name, colon, path = spec.partition(":")
    if colon and name in list_propagators():
        return f"{name}:", Path(path)
    return "", Path(spec)
