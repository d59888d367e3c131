"""Journal that lets an interrupted run resume."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coprop_plugin import __version__
from coprop_plugin.media.json_lines import JsonLines
from coprop_plugin.types import ControlPoints

NAME = "journal.jsonl"


class Journal:
    """`journal.jsonl` in the hidden folder of an unfinished result.

    The first line describes the result. If it is the one that is wanted now, the following lines
    count: the control points, and the frames that are complete, up to a keyframe. Otherwise the
    journal starts over. While it is open, no other process can open it.

    Args:
        folder: The hidden folder; created if missing.
        about: Describes the result.
        name: The name of the result in messages.

    Attributes:
        control_points: None if they were not found yet.
        times: Time stamps of the complete frames, in seconds.
        shape: Height and width of the masks, and the number of classes; zeros if not known yet.
        origins: How the masks of the complete frames were made, in JSON types.

    Raises:
        MediaError: If another process is writing this result, or the journal cannot be read or
            written.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], name: Path) -> None:
        self._lines = JsonLines(folder / NAME, name=name)
        self.file_names = frozenset({self._lines.path.name, self._lines.lock_path.name})
        self._header = _plain({"about": about, "version": __version__})
        self._forget()
        self._lines.claim()
        try:
            if not self._read():
                self.start_over()
        except BaseException:
            self._lines.close()
            raise

    def _forget(self) -> None:
        self.control_points: ControlPoints | None = None
        self.times: list[float] = []
        self.shape: tuple[int, int, int] = (0, 0, 0)
        self.origins: list[Any] = []

    def start_over(self) -> None:
        """Forget the control points and all frames."""
        self._forget()
        self._lines.rewrite([self._header])

    def _read(self) -> bool:
        """Read what is known of the wanted result; returns whether all of it could be used."""
        lines = self._lines.read()
        if next(lines, None) != self._header:
            return False
        try:
            for line in lines:
                self._use(line)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            # A machine that lost power may have left anything.
            return False
        return True

    def _use(self, line: Mapping[str, Any]) -> None:
        if "control_points" in line:
            self.control_points = ControlPoints.from_dict(line["control_points"])
            return
        if line["first"] != len(self.times):
            raise ValueError("A line before this one was lost.")
        self.times += map(float, line["times"])
        height, width, num_classes = map(int, line["shape"])
        self.shape = (height, width, num_classes)
        self.origins += line["origins"]

    def write_points(self, points: ControlPoints) -> None:
        """Write the control points, with exact times."""
        content = points.to_dict()
        if points.starts_s is not None:
            content["starts_s"] = points.starts_s.tolist()
        self._lines.append(_plain({"control_points": content}))

    def write_complete(
        self, times: Sequence[float], shape: tuple[int, int, int], origins: Sequence[Any]
    ) -> None:
        """Write that all frames before a keyframe are complete.

        Args:
            times: Time stamps of all frames so far, in seconds.
            shape: Height and width of the masks, and the number of classes.
            origins: How the masks of all frames so far were made, in JSON types.
        """
        first = len(self.times)
        new, made = list(times[first:]), list(origins[first:])
        if new:
            self._lines.append({"first": first, "times": new, "shape": shape, "origins": made})
            self.times += new
            self.origins += made
            self.shape = shape

    def remove(self) -> None:
        """Delete the journal, because the result is complete."""
        self._lines.remove()

    def close(self) -> None:
        """Let other processes open it."""
        self._lines.close()


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping as JSON gives it back."""
    return json.loads(json.dumps(content, default=str))
