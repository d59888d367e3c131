"""Crash-safe replacement of a folder by a new one.

A folder cannot be exchanged for another in one step, so the earlier one is first moved aside, to
`.NAME.old`. A kill in between leaves no NAME at all, only the two hidden folders.
"""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from coprop_plugin.errors import MediaError

_ATTEMPTS = 3


def old_name(target: Path) -> Path:
    """Return the path to which an earlier folder is moved while it is replaced."""
    return target.with_name(f".{target.name}.old")


def folders_in(folder: Path) -> list[Path]:
    """Return the folders inside a folder, sorted, without the hidden ones of replacements.

    A folder that was moved aside by an interrupted replacement is listed under its own name.
    """
    if not folder.is_dir():
        return []
    names = set()
    for path in folder.iterdir():
        hidden = re.fullmatch(r"\.(.+)\.(old|part)", path.name)
        if path.is_dir() and (hidden is None or hidden[2] == "old"):
            names.add(path.name if hidden is None else hidden[1])
    return [folder / name for name in sorted(names)]


def recover_folder(target: str | Path) -> None:
    """Put an earlier folder back if its replacement was interrupted; else do nothing.

    Args:
        target: The folder that was to be replaced; a link is followed.

    Raises:
        OSError: If it cannot be renamed.
    """
    target = Path(os.path.realpath(target))
    old = old_name(target)
    if not old.is_dir():
        return
    try:
        if target.is_dir():
            # Only an empty folder gives way to what may hold hand-painted masks.
            target.rmdir()
        os.rename(old, target)
    except OSError:
        # It is not empty, or another process was faster.
        if not target.is_dir():
            raise


def check_old(target: Path, is_complete: Callable[[Path], bool]) -> None:
    """Refuse to go on if an earlier folder was moved aside and nothing complete replaced it.

    Raises:
        MediaError: If both `target` and the earlier folder exist, and `target` is not complete.
    """
    old = old_name(target)
    if old.exists() and not is_complete(target):
        raise MediaError(
            f"{target} is not complete, and {old} holds an earlier version of it. Delete the one "
            "that you do not need."
        )


def replace_folder(
    partial: Path,
    target: Path,
    is_complete: Callable[[Path], bool],
    *,
    rename: Callable[[Path, Path], None] = os.rename,
    remove: Callable[[Path], None] = shutil.rmtree,
) -> None:
    """Rename a complete folder to its final name; an earlier folder of that name is deleted.

    After a kill at any point, `recover_folder` finds one of the two under the final name.

    Args:
        partial: The new folder, on the same file system.
        target: The final name.
        is_complete: Whether a folder holds all that it should. What was moved aside before is
            deleted only if `target` is complete.
        rename: `os.rename`, or another in a test.
        remove: Deletes a folder with its content; another in a test.

    Raises:
        MediaError: If an earlier folder was moved aside, and `target` is not complete.
        OSError: If a folder cannot be renamed.
    """
    old = old_name(target)
    recover_folder(target)
    check_old(target, is_complete)
    if old.exists():
        remove(old)
    for attempt in range(1, _ATTEMPTS + 1):
        if target.exists():
            rename(target, old)
        try:
            rename(partial, target)
            break
        except OSError:
            # Another process may just have recovered the earlier folder.
            if attempt == _ATTEMPTS or not target.exists():
                raise
    try:
        remove(old)
    except OSError:
        # There was none, or a file in it is open; the next replacement deletes it.
        return
