"""The folder of each input's result, which does not depend on what it is listed with."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coprop_plugin import media
from coprop_plugin.batch.inputs import fingerprint
from coprop_plugin.media.result_json import read_manifest

_NUMBERED = re.compile(r"(.+)-[0-9a-f]{8}", re.DOTALL)


def folders_of(paths: Sequence[Path], out: Path) -> list[Path]:
    """Return the folder of each input's result.

    An input keeps the folder that holds its result, also if both were moved together. Others get
    their stem, or, if that is another input's, their stem and a short hash of their path.

    Args:
        paths: The inputs, without duplicates.
        out: The folder of all results.

    Example:
        >>> folders = folders_of([Path("/a/x.mp4"), Path("/b/x.mp4")], Path("out"))
        >>> [folder.name for folder in folders]
        ['x', 'x-407f598d']
    """
    finished = _finished(out, {path.stem for path in paths})
    by_stem: dict[str, list[str]] = {}
    for name in finished:
        for stem in _stems_of(name):
            by_stem.setdefault(stem, []).append(name)
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for is_same in (_has_path, _has_content):
        for path in paths:
            if path in names:
                continue
            left = (name for name in by_stem.get(path.stem, ()) if name not in taken)
            own = next((name for name in left if is_same(finished[name], path)), None)
            if own is not None:
                names[path] = own
                taken.add(own)
    for path in paths:
        if path not in names:
            name = path.stem
            if name in finished or name in taken:
                name = f"{name}-{_hash(path)}"
            names[path] = name
            taken.add(name)
    return [out / names[path] for path in paths]


def about_before(folder: Path, path: Path) -> dict[str, Any] | None:
    """Return the `about` of a folder's result; as if it had been made of this file, if moved here.

    Args:
        folder: A folder of results; None is returned if it is something else.
        path: The input. A file with the same content counts as the same, wherever it lies.
    """
    result = read_manifest(folder)
    about = None if result is None else result.get("about")
    if result is None or about is None or "input" not in about:
        return about
    if not _has_path(result, path) and _has_content(result, path):
        return {**about, **described(path)}
    return about


def described(path: Path) -> dict[str, Any]:
    """Return what is kept of an input in the `about` of its result: its path, size and time."""
    return {"input": str(path.resolve()), "fingerprint": fingerprint(path)}


def _finished(out: Path, stems: set[str]) -> dict[str, Mapping[str, Any]]:
    """Return the results in a folder that may be of inputs with these stems, by their names."""
    try:
        names = sorted(os.listdir(out))
    except OSError:
        return {}
    finished: dict[str, Mapping[str, Any]] = {}
    for name in names:
        if stems.intersection(_stems_of(name)):
            result = read_manifest(out / name)
            if result is not None and "input" in (result.get("about") or {}):
                finished[name] = result
    return finished


def _stems_of(name: str) -> list[str]:
    """Return the stems of inputs that a result of this name may be of."""
    match = _NUMBERED.fullmatch(name)
    return [name, match[1]] if match else [name]


def _has_path(result: Mapping[str, Any], path: Path) -> bool:
    return result["about"]["input"] == str(path.resolve())


def _has_content(result: Mapping[str, Any], path: Path) -> bool:
    try:
        return result.get("source_digest") == media.content_digest(path)
    except OSError:
        return False


def _hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8]
