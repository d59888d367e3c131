"""Reading the `report.json` files of `coprop bench`, which may be other people's."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coprop_plugin.errors import ReportError
from coprop_plugin.limits import read_text

FORMAT = "coprop.benchmark/1"
FILE_NAME = "report.json"
_PICTURE = re.compile(r"data:image/jpeg;base64,[A-Za-z0-9+/]+=*")
_TEXTS = ("backend", "row", "part")


def read_bench(path: str | Path) -> dict[str, Any]:
    """Read the report of a benchmark.

    Numbers that are not finite become None, and pictures that are not JPEGs inside the file are
    left out.

    Args:
        path: `report.json`, or the folder that holds it.

    Raises:
        ReportError: If it is not the report of a benchmark.
    """
    path = Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    try:
        content = json.loads(read_text(path, ReportError))
    except FileNotFoundError as error:
        raise ReportError(f"There is no {path}. Name a report of `coprop bench`.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ReportError(f"{path} cannot be read as JSON ({str(error)[:120]}).") from error
    found = content.get("format") if isinstance(content, dict) else type(content).__name__
    if found != FORMAT:
        raise ReportError(
            f"Expected a report of `coprop bench` ({FORMAT}) in {path}, got {str(found)[:60]!r}. "
            "Name its report.json, or its output folder."
        )
    results = content.get("results")
    if not isinstance(results, list) or not all(map(_is_result, results)):
        raise ReportError(
            f"Expected results with backend, row, part and mean in {path}, got others. Write it "
            "again with `coprop bench`."
        )
    about = content.get("about")
    about = about if isinstance(about, dict) else {}
    return {**content, "about": about, "results": [_clean(result) for result in results]}


def _is_result(result: Any) -> bool:
    return (
        isinstance(result, dict)
        and all(isinstance(result.get(name), str) for name in _TEXTS)
        and isinstance(result.get("mean"), dict)
    )


def _clean(result: Mapping[str, Any]) -> dict[str, Any]:
    worst = result.get("worst")
    kept = [c for c in worst if _is_clip(c)] if isinstance(worst, list) else []
    tables = {
        name: {k: _number(v) for k, v in table.items()}
        for name in ("mean", "std")
        if isinstance(table := result.get(name), dict)
    }
    made_by = result.get("made_by")
    return {
        **result,
        "std": {},
        **tables,
        "worst": kept,
        "made_by": made_by if isinstance(made_by, dict) else {},
        "clips": result["clips"] if isinstance(result.get("clips"), int) else 0,
    }


def _is_clip(clip: Any) -> bool:
    return (
        isinstance(clip, dict)
        and isinstance(clip.get("picture"), str)
        and _PICTURE.fullmatch(clip["picture"]) is not None
        and isinstance(clip.get("clip"), str)
        and _number(clip.get("M_J")) is not None
    )


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and math.isfinite(value) else None
