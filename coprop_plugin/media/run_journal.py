"""What is sure of a half-written result, so that it can be gone on with after a kill."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coprop_plugin import __version__
from coprop_plugin.errors import MediaError
from coprop_plugin.types import ControlPoints

NAME = "journal.jsonl"


class Journal:
    """`journal.jsonl` in the hidden folder of an unfinished result, one line of JSON a step.

    The first line says what the result will be of. If that is what is wanted now, the rest counts:
    the control points, and up to which keyframe all frames are complete. Else it begins anew. As
    long as it is open, no other process can open it.

    Args:
        folder: The hidden folder; made if need be.
        about: What the result will be of.

    Attributes:
        control_points: None if they were not found yet.
        times: Of the frames that are complete, in seconds.
        shape: Height and width of the masks, and the number of classes; zeros if not known yet.

    Raises:
        MediaError: If another process is writing this result.
        OSError: If it cannot be written.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.control_points: ControlPoints | None = None
        self.times: list[float] = []
        self.shape: tuple[int, int, int] = (0, 0, 0)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / NAME
        self._file = self.path.open("a+", encoding="utf-8")
        try:
            _lock(self._file.fileno(), folder)
            self._go_on(
                json.loads(json.dumps({"about": about, "version": __version__}, default=str))
            )
        except BaseException:
            self._file.close()
            raise

    def _go_on(self, wanted: dict[str, Any]) -> None:
        self._wanted = wanted
        try:
            whole = self._read(wanted)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            # A machine that lost its power may have left anything.
            whole = ""
        if whole:
            self._file.truncate(len(whole.encode()))
        else:
            self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what is known."""
        self.control_points, self.times, self.shape = None, [], (0, 0, 0)
        self._file.truncate(0)
        self._add(self._wanted)

    def _read(self, wanted: dict[str, Any]) -> str:
        """Take what is known of the same result; returns the text that stays."""
        self._file.seek(0)
        text = self._file.read()
        # After the last line break is nothing, or half a line of a process that was killed.
        whole = text[: text.rfind("\n") + 1]
        lines = [json.loads(line) for line in whole.splitlines()]
        if lines[:1] != [wanted]:
            return ""
        for line in lines[1:]:
            if "control_points" in line:
                self.control_points = ControlPoints.from_dict(line["control_points"])
            else:
                self.times += map(float, line["times"])
                height, width, num_classes = map(int, line["shape"])
                self.shape = (height, width, num_classes)
        return whole

    def found(self, points: ControlPoints) -> None:
        """Note the control points, exactly."""
        content = points.to_dict()
        if points.starts_s is not None:
            content["starts_s"] = points.starts_s.tolist()
        self._add({"control_points": content})

    def complete(self, times: Sequence[float], shape: tuple[int, int, int]) -> None:
        """Note that the frames at these times, next in order, are complete: a keyframe comes."""
        new = list(times[len(self.times) :])
        if new:
            self.times += new
            self.shape = shape
            self._add({"times": new, "shape": shape})

    def _add(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line, default=str) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Let others open it."""
        self._file.close()


def _lock(file: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise MediaError(
            f"Another process is writing {folder.name.strip('.').removesuffix('.part')} in "
            f"{folder.parent}. Wait for it, or choose another folder."
        ) from error
