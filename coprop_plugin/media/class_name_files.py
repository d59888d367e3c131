"""Names of classes, from a file, a model, or AVSBench-semantic."""

import json
from functools import lru_cache
from importlib import resources
from pathlib import Path

from coprop_plugin.errors import MediaError
from coprop_plugin.limits import read_text

_AVSS_CLASSES = 71


def class_names(
    num_classes: int, file: str | Path | None = None, known: object = None
) -> tuple[str, ...]:
    """Return the name of every class; for models of 71 classes, AVSBench-semantic's names.

    Args:
        num_classes: C of the model: 1 for a binary one.
        file: Names in the order of class ids, one per line, or JSON: a list of names, or a mapping
            from name to class id as in AVSS's `label2idx.json`.
        known: Names from the model or its `result.json`, used without a file if there is one name
            per class.

    Returns:
        One name per class id, including the background 0: two for a binary model.

    Raises:
        MediaError: If the file cannot be read, or has another number of names.

    Example:
        >>> class_names(1), class_names(71)[17], class_names(3)
        (('silent', 'sounding'), 'dog', ('background', 'class 1', 'class 2'))
    """
    wanted = max(2, num_classes)
    if file is not None:
        names = _read(Path(file))
        if len(names) != wanted:
            raise MediaError(
                f"Expected {wanted} names including the background (class 0) in {file}, got "
                f"{len(names)}. List all of them in the order of the class ids."
            )
        return names
    if isinstance(known, list | tuple) and len(known) == wanted:
        if all(isinstance(name, str) for name in known):
            return tuple(known)
    if num_classes == 1:
        return ("silent", "sounding")
    if num_classes == _AVSS_CLASSES:
        return _avss()
    return ("background", *(f"class {k}" for k in range(1, num_classes)))


def _read(path: Path) -> tuple[str, ...]:
    try:
        text = read_text(path, MediaError)
        content = json.loads(text) if path.suffix == ".json" else text.split("\n")
        if isinstance(content, dict):
            content = [name for name, _ in sorted(content.items(), key=lambda pair: int(pair[1]))]
        return tuple(str(name).strip() for name in content if str(name).strip())
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise MediaError(
            f"The class names {path} cannot be read ({error}). Expected one name per line, a JSON "
            "list, or a JSON mapping from name to class id."
        ) from error


@lru_cache(maxsize=1)
def _avss() -> tuple[str, ...]:
    text = (resources.files("coprop_plugin.media") / "avss_classes.txt").read_text("utf-8")
    return tuple(text.split())
