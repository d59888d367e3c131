"""What a results folder says of itself: its `result.json`, read as if a stranger had written it."""

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from coprop_plugin.errors import MediaError
from coprop_plugin.limits import FRAMES, OBJECTS, PIXELS, read_text
from coprop_plugin.types import Sampling

FORMAT = "coprop.result/1"
FILE = "result.json"


def json_of(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; nothing if it is missing or no mapping."""
    try:
        content = json.loads(read_text(path, MediaError))
    except (OSError, ValueError, RecursionError, MediaError):
        return {}
    return content if isinstance(content, dict) else {}


def read_manifest(folder: str | Path) -> dict[str, Any] | None:
    """Return the `result.json` of a folder that `ResultWriter` completed; None for any other."""
    content = json_of(Path(folder) / FILE)
    return content if content.get("format") == FORMAT and _is_whole(content) else None


def source_of(folder: Path, content: Mapping[str, Any]) -> Path | None:
    """Return the video that a result was made from, where it was or beside the folder.

    Args:
        folder: The result.
        content: Its `result.json`.
    """
    name = content.get("source")
    recorded = (content.get("about") or {}).get("input")
    beside = folder.resolve().parent / Path(name).name if name else None
    return next((Path(p) for p in (recorded, beside) if p and _is_file(Path(p))), None)


def read_about(folder: str | Path) -> dict[str, Any] | None:
    """Return the `about` of a folder that `ResultWriter` completed; None for any other folder."""
    content = read_manifest(folder)
    return None if content is None else content.get("about")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # A name that no file can have, of ten thousand letters say.
        return False


def _is_whole(content: Mapping[str, Any]) -> bool:
    frames, size, times = (content.get(name) for name in ("num_frames", "size", "times"))
    about = content.get("about", {})
    return (
        _is_count(frames, FRAMES.value)
        and _is_count(content.get("num_classes"), OBJECTS + 1)
        and isinstance(size, list)
        and len(size) == 2
        and all(_is_count(side, PIXELS.value) for side in size)
        and _are_times(times)
        and len(times) == frames
        and content.get("sampling") in get_args(Sampling)
        and isinstance(content.get("source"), str | None)
        and isinstance(about, dict)
        and isinstance(about.get("input"), str | None)
        and isinstance(about.get("options"), dict | None)
    )


def _is_count(value: Any, most: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _are_times(times: Any) -> bool:
    if not isinstance(times, list) or not all(isinstance(t, int | float) for t in times):
        return False
    # Whole numbers in JSON may be longer than a float can be.
    if not all(abs(t) < 1e12 and math.isfinite(t) for t in times):
        return False
    return all(a <= b for a, b in pairwise(times))
