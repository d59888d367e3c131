"""Atomic writing of files, and the names that a results folder may contain."""

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
# Added to a finished result: the bare model's result, reports and exports.
BARE, REPORT_NAMES = "bare", ("report.html", "report.mp4")
EXPORT_NAMES = ("alpha.mov", "alpha.webm", "coco.json", "yolo", "davis")
_WRITTEN = ("overlay.mp4", "control_points.json", "result.json")
OWN_NAMES = frozenset({*PICTURE_FOLDERS, *_WRITTEN, BARE, *REPORT_NAMES, *EXPORT_NAMES})
# Left by file managers.
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
    """Turn errors of disk and encoder into a `MediaError` that names what is written."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(
            f"{folder} cannot be written ({reason}). Check that the disk has room and that the "
            "folder may be written, or choose another."
        ) from error


def refuse_foreign(target: Path, folder: Path) -> None:
    """Refuse a target that is neither new nor empty nor an earlier result.

    Args:
        target: The folder, with links resolved.
        folder: The same as the caller named it, for messages.

    Raises:
        MediaError: If the target holds other files.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise MediaError(f"Expected a folder for the results, got the file {folder}. Name another.")
    with writing(folder):
        foreign = sorted(_foreign_names(target))
    names = {path.name for path in target.iterdir()} - IGNORED_NAMES
    ours = json_of(target / FILE).get("format") == FORMAT
    if foreign or (names and not ours):
        found = ", ".join((foreign or sorted(names))[:4])
        raise MediaError(
            f"{folder} holds other files than those of a result ({found}); nothing was changed. "
            "Choose a new folder, or move these away."
        )


def _foreign_names(target: Path) -> Iterator[str]:
    for path in target.iterdir():
        if path.name in PICTURE_FOLDERS and path.is_dir():
            inside = {p.name for p in path.iterdir()} - IGNORED_NAMES
            yield from (f"{path.name}/{n}" for n in inside if not re.fullmatch(r"\d{5,}\.png", n))
        elif path.name == BARE and path.is_dir():
            yield from (f"{BARE}/{name}" for name in _foreign_names(path))
        elif path.name not in OWN_NAMES | IGNORED_NAMES and not _is_leftover(path.name):
            yield path.name


def _is_leftover(name: str) -> bool:
    """Whether a kill while an own file or folder was written or replaced left this one."""
    match = re.fullmatch(r"\.(.+?)(\.\d+)?\.(part|old)(\.\w+)?", name)
    return match is not None and bool({match[1], f"{match[1]}{match[4] or ''}"} & OWN_NAMES)


def remove_all_but(folder: Path, names: Container[str]) -> None:
    """Empty a folder except for some files and folders in it."""
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
