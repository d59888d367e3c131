"""`result.json`, which describes a results folder; read as untrusted input."""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from coprop_plugin.errors import MediaError
from coprop_plugin.limits import FRAMES, OBJECTS, PIXELS, read_text
from coprop_plugin.media.replace_folder import recover_folder
from coprop_plugin.types import Sampling, Tracks

FORMAT = "coprop.result/1"
FILE = "result.json"


def json_of(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file; empty if it is missing or not a mapping."""
    try:
        content = json.loads(read_text(path, MediaError))
    except (OSError, ValueError, RecursionError, MediaError):
        return {}
    return content if isinstance(content, dict) else {}


def read_manifest(folder: str | Path) -> dict[str, Any] | None:
    """Return the `result.json` of a folder that `ResultWriter` completed; None for any other.

    If a kill interrupted the replacement of the folder, the earlier result is put back first.
    """
    with suppress(OSError):
        recover_folder(folder)
    content = json_of(Path(folder) / FILE)
    return content if content.get("format") == FORMAT and _is_valid(content) else None


def source_of(folder: Path, content: Mapping[str, Any]) -> Path | None:
    """Return the video that a result was made from, at its recorded path or next to the folder.

    Args:
        folder: The result.
        content: Its `result.json`.
    """
    name = content.get("source")
    recorded = (content.get("about") or {}).get("input")
    beside = folder.resolve().parent / Path(name).name if name else None
    return next((Path(p) for p in (recorded, beside) if p and _is_file(Path(p))), None)


def tracks_of(content: Mapping[str, Any]) -> Tracks:
    """Return the tracks of its video that a result was made from."""
    return Tracks.of(content.get("tracks") or {})


def is_result(folder: Path) -> bool:
    """Whether a folder holds a complete result."""
    return read_manifest(folder) is not None


def read_about(folder: str | Path) -> dict[str, Any] | None:
    """Return the `about` of a folder that `ResultWriter` completed; None for any other folder."""
    content = read_manifest(folder)
    return None if content is None else content.get("about")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # Not a possible file name, e.g. with ten thousand letters.
        return False


def _is_valid(content: Mapping[str, Any]) -> bool:
    frames, size, times = (content.get(name) for name in ("num_frames", "size", "times"))
    about = content.get("about", {})
    return (
        _is_count(frames, FRAMES.value)
        and _is_count(content.get("num_classes"), OBJECTS + 1)
        and isinstance(size, list)
        and len(size) == 2
        and all(_is_count(side, PIXELS.value) for side in size)
        and isinstance(times, list)
        and len(times) == frames
        and _are_times(times)
        and content.get("sampling") in get_args(Sampling)
        and isinstance(content.get("source"), str | None)
        and _are_tracks(content.get("tracks") or {})
        and isinstance(about, dict)
        and isinstance(about.get("input"), str | None)
        and isinstance(about.get("options"), dict | None)
    )


def _are_tracks(tracks: Any) -> bool:
    return (
        isinstance(tracks, dict)
        and isinstance(tracks.get("sound"), str | None)
        and isinstance(tracks.get("frame_rate"), int | float | None)
        and tracks.get("frame_rate", 1) > 0
        and all(isinstance(tracks.get(kind), int | str | None) for kind in ("video", "audio"))
    )


def _is_count(value: Any, maximum: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= maximum


def _are_times(times: list[Any]) -> bool:
    if not all(isinstance(t, int | float) for t in times):
        return False
    # Integers in JSON may be too large for a float.
    if not all(abs(t) < 1e12 and math.isfinite(t) for t in times):
        return False
    return all(a <= b for a, b in pairwise(times))
