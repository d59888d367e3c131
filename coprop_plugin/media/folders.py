"""Writing that is either complete or not there, and never over what others wrote."""

import json
import os
import re
import shutil
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av

from coprop_plugin.errors import MediaError
from coprop_plugin.media.result_json import FILE, FORMAT, json_of

PICTURE_FOLDERS = ("masks", "probs", "alpha")
# What a report adds to a finished result, and the bare model's result beside it.
BARE, REPORT_NAMES = "bare", ("report.html", "report.mp4")
EXPORT_NAMES = ("alpha.mov", "alpha.webm", "coco.json")
_WRITTEN = ("overlay.mp4", "control_points.json", "result.json")
OWN_NAMES = frozenset({*PICTURE_FOLDERS, *_WRITTEN, BARE, *REPORT_NAMES, *EXPORT_NAMES})
# What file managers leave behind.
IGNORED_NAMES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file atomically: under a temporary name, then renamed.

    Raises:
        MediaError: If it cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(content)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def write_text(path: str | Path, text: str) -> Path:
    """Write a UTF-8 text file atomically.

    Raises:
        MediaError: If it cannot be written.
    """
    return write_bytes(path, text.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=1, default=str) + "\n")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn errors of disk and encoder into a `MediaError` that names what was to be written."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(
            f"{folder} cannot be written ({reason}). Check that the disk has room and that the "
            "folder may be written, or choose another."
        ) from error


def refuse_foreign(target: Path, folder: Path) -> None:
    """Let pass what is new, empty, or was written here before, and nothing else."""
    if not target.exists():
        return
    if not target.is_dir():
        raise MediaError(f"{folder} is a file; wanted a folder for the results. Choose another.")
    with writing(folder):
        foreign = sorted(_foreign_names(target))
    names = {path.name for path in target.iterdir()} - IGNORED_NAMES
    ours = json_of(target / FILE).get("format") == FORMAT
    if foreign or (names and not ours):
        found = ", ".join((foreign or sorted(names))[:4])
        raise MediaError(
            f"{folder} holds what was not written as a result ({found}); it stays as it is. Choose "
            "a new folder, or move these away."
        )


def _foreign_names(target: Path) -> Iterator[str]:
    for path in target.iterdir():
        if path.name in PICTURE_FOLDERS and path.is_dir():
            inside = {p.name for p in path.iterdir()} - IGNORED_NAMES
            yield from (f"{path.name}/{n}" for n in inside if not re.fullmatch(r"\d{5,}\.png", n))
        elif path.name == BARE and path.is_dir():
            yield from (f"{BARE}/{name}" for name in _foreign_names(path))
        elif path.name not in OWN_NAMES | IGNORED_NAMES:
            yield path.name


def replace_folder(partial: Path, target: Path) -> None:
    """Give a complete folder its name; what had that name before goes."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.rename(target, old)
    os.rename(partial, target)
    shutil.rmtree(old, ignore_errors=True)


def remove_all_but(folder: Path, names: Container[str]) -> None:
    """Empty a folder, but for some files and folders in it."""
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
