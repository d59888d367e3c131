"""Importing what a command line names as `module:name` or `file.py:name`."""

import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from coprop_plugin.errors import AdapterError, CopropError

logger = logging.getLogger(__name__)


def find_callable(spec: str, option: str, expected: str) -> Any:
    """Import what `module:name` or `file.py:name` names.

    Args:
        spec: The value of an option.
        option: The option, for messages.
        expected: What the option takes, for messages.

    Raises:
        AdapterError: If there is no such thing, or importing it fails.
    """
    place, _, name = spec.rpartition(":")
    found: Any = _import(place, f"{option} {spec!r}", expected)
    for part in name.split("."):
        if not hasattr(found, part):
            raise AdapterError(f"{option} {spec!r}: {place} has no {part!r}. {expected}")
        found = getattr(found, part)
    return found


def _import(place: str, given: str, expected: str) -> ModuleType:
    path = Path(place)
    with importable(place), reported(f"{given}: {place} cannot be imported", expected):
        if path.suffix != ".py":
            return importlib.import_module(place)
        module_spec = importlib.util.spec_from_file_location(path.stem, path)
        if not path.is_file() or module_spec is None or module_spec.loader is None:
            raise AdapterError(f"{given}: there is no file {path}. {expected}")
        module = importlib.util.module_from_spec(module_spec)
        sys.modules.setdefault(path.stem, module)
        try:
            module_spec.loader.exec_module(module)
        except BaseException:
            if sys.modules.get(path.stem) is module:
                del sys.modules[path.stem]
            raise
        return module


@contextmanager
def importable(place: str) -> Iterator[None]:
    """Import from the folder of a file, or the current one, inside the `with`.

    Python does so for a script that it runs; console scripts lack even the current folder.
    """
    folder = str(Path(place).resolve().parent) if Path(place).suffix == ".py" else ""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        # The code that was run may have changed the list.
        if folder in sys.path:
            sys.path.remove(folder)


@contextmanager
def reported(what: str, expected: str = "") -> Iterator[None]:
    """Raise what a user's code raises as an `AdapterError`, with its traceback in the log."""
    try:
        yield
    except CopropError:
        raise
    except Exception as error:
        if not isinstance(error, ImportError):
            logger.exception("%s", what)
        message = f"{what}: {type(error).__name__}: {error}. {expected}"
        raise AdapterError(message.strip()) from error
