"""Which files are meant, what their results are called, and which of them are this process's."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from coprop_plugin.checkpoints import WEIGHTS_FILE
from coprop_plugin.errors import MediaError
from coprop_plugin.registry import list_propagators

VIDEO_SUFFIXES = frozenset(
    ".avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()
)
# Who says which process of a group this is, and how many there are; the first that does is asked.
_GROUPS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """Every `count`-th input from number `index` on: the share of one process among several.

    Example:
        >>> Shard(1, 3).of("abcdefgh")
        ['b', 'e', 'h']
    """

    index: int = 0
    count: int = 1

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Return this share of some items, in their order."""
        return list(items[self.index :: self.count])

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `"1/3"`: the second of three shares.

        Raises:
            MediaError: If it is not that.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not int(match[1]) < int(match[2]):
            raise MediaError(
                f"Got the share {text!r}; wanted INDEX/COUNT with INDEX from 0 to COUNT - 1: 0/4, "
                "1/4, 2/4 and 3/4 together are everything, 0/1 is everything at once."
            )
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Shard":
        """Return the share that torchrun or SLURM's srun gives this process; else all.

        Raises:
            MediaError: If what they say is no share.

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
    """Return the files meant: files as they are, folders as the videos in them, sorted.

    A text file stands for its lines, each a file or folder as it would be named here; empty lines
    and those that begin with `#` do not count. It ends in `.txt`, or has an `@` in front.

    Raises:
        MediaError: If a folder holds no video, or a list cannot be read or names nothing.
    """
    found: list[Path] = []
    for path in _listed(paths):
        if not path.is_dir():
            found.append(path)
            continue
        videos = sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
        if not videos:
            raise MediaError(
                f"Got the folder {path}, which holds no video (of {', '.join(VIDEO_SUFFIXES)}). "
                "Name the files themselves if they are called otherwise."
            )
        found += videos
    return found


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
        # File names are bytes: one that is not UTF-8 is a name nevertheless.
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise MediaError(
            f"The list {path} cannot be read ({error}). Wanted a text file with one path a line."
        ) from error
    if "\0" in text:
        raise MediaError(f"The list {path} is no text. Wanted a text file with one path a line.")
    lines = text.splitlines()
    named = [Path(line.strip()) for line in lines if line.strip() and line[0] != "#"]
    if not named:
        raise MediaError(f"The list {path} names nothing. Wanted one path a line.")
    return named


def names_of(paths: Sequence[Path]) -> list[str]:
    """Name inputs: their stem, their whole name where stems clash, numbered if those do.

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


def fingerprint(path: str | Path | None) -> str | None:
    """Return what tells that a file, or a folder of weights, was changed: path, size and time."""
    if path is None or not Path(path).exists():
        return None
    weights = Path(path) / WEIGHTS_FILE
    stat = (weights if weights.exists() else Path(path)).stat()
    return f"{Path(path).resolve()}:{stat.st_size}:{stat.st_mtime_ns}"


def located(spec: str | None) -> str | None:
    """Return the path of a file or folder in full, so that it says the same from anywhere.

    Names, and ids on the hub, stay as they are.

    Example:
        >>> located("flow"), located("hf://owner/name")
        ('flow', 'hf://owner/name')
    """
    if spec is None or spec in list_propagators() or not Path(spec).exists():
        return spec
    return str(Path(spec).resolve())
