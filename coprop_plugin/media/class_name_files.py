"""What classes are called."""

import json
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from coprop_plugin.errors import MediaError

_AVSS_CLASSES = 71


def class_names(
    num_classes: int, file: str | Path | None = None, known: Any = None
) -> tuple[str, ...]:
    """Return the name of every class; of models of 71 classes, AVSBench-semantic's.

    Args:
        num_classes: C of the model: 1 for a binary one.
        file: Names in the order of classes, one a line, or JSON: a list of them, or a mapping
            from name to class as AVSS's `label2idx.json`.
        known: Without a file, what the model or its `result.json` says, if that is a name a class.

    Returns:
        A name a class id, the background 0 included: two for a binary model.

    Raises:
        MediaError: If the file cannot be read, or names another number of classes.

    Example:
        >>> class_names(1), class_names(71)[17], class_names(3)
        (('silent', 'sounding'), 'dog', ('background', 'class 1', 'class 2'))
    """
    wanted = max(2, num_classes)
    if file is not None:
        names = _read(Path(file))
        if len(names) != wanted:
            raise MediaError(
                f"{file} names {len(names)} classes, the result has {wanted}, with the background "
                "0. Name them all, in the order of their numbers."
            )
        return names
    listed = isinstance(known, list | tuple) and len(known) == wanted
    if listed and all(isinstance(name, str) for name in known):
        return tuple(known)
    if num_classes == 1:
        return ("silent", "sounding")
    if num_classes == _AVSS_CLASSES:
        return _avss()
    return ("background", *(f"class {k}" for k in range(1, num_classes)))


def _read(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else text.split("\n")
        if isinstance(content, dict):
            content = [name for name, _ in sorted(content.items(), key=lambda pair: int(pair[1]))]
        return tuple(str(name).strip() for name in content if str(name).strip())
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise MediaError(
            f"The class names {path} cannot be read ({error}). Wanted one a line, or JSON."
        ) from error


@lru_cache(maxsize=1)
def _avss() -> tuple[str, ...]:
    text = (resources.files("coprop_plugin.media") / "avss_classes.txt").read_text("utf-8")
    return tuple(text.split())
