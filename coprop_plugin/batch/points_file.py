"""A file with the control points of many clips by name, and the journal that it is made from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coprop_plugin import media
from coprop_plugin.batch.inputs import fingerprint
from coprop_plugin.errors import MediaError
from coprop_plugin.limits import read_text
from coprop_plugin.media.json_lines import JsonLines
from coprop_plugin.pipeline.audio_items import AudioItem

FORMAT = "coprop.control_points_set/1"


class PointsFile:
    """A file of control points of many clips, while it is written.

    Control points are appended to a journal beside the file as they come; `save` writes the file
    and deletes the journal, from which an interrupted run resumes. Only one process at a time can
    write a file.

    Args:
        path: The file, e.g. `points.json`.
        made_with: The options that decide the control points.
        redo: Whether to discard what an earlier run found.

    Raises:
        MediaError: If the file holds something else, cannot be written, or another process is
            writing it.
    """

    def __init__(self, path: Path, made_with: Mapping[str, Any], redo: bool = False) -> None:
        self.path, self.made_with = path, json.loads(json.dumps(made_with))
        self.clips: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}
        self._journal = JsonLines(path.with_name(f".{path.name}.journal"))
        self._journal.claim()
        try:
            if redo:
                self._journal.rewrite([])
            else:
                self._resume()
        except BaseException:
            self.close()
            raise

    def _resume(self) -> None:
        before = _read(self.path)
        if self.path.exists() and before.get("made_with") != self.made_with:
            raise MediaError(
                f"{self.path} was made with {before.get('made_with', 'something else')}, not with "
                f"{self.made_with}, and would be overwritten. Choose another file, or --redo."
            )
        for content in (before, *self._journal.read()):
            clips = content.get("clips")
            if content.get("made_with") == self.made_with and isinstance(clips, dict):
                self.clips |= {name: clip for name, clip in clips.items() if isinstance(clip, dict)}

    def has(self, item: AudioItem) -> bool:
        """Whether the control points of a clip are known and its file has not changed since."""
        return item.name in self.clips and self.clips[item.name].get("heard") == _stamp(item)

    def add(self, item: AudioItem, points: Mapping[str, Any]) -> None:
        """Keep the control points of a clip, as `ControlPoints.to_dict` returns them.

        Raises:
            MediaError: If the journal cannot be written.
        """
        content = {**points, "heard": _stamp(item)}
        self.clips[item.name] = content
        self._journal.append({"made_with": self.made_with, "clips": {item.name: content}})

    def fail(self, item: AudioItem, error: str) -> None:
        """Note why a clip has no control points, and drop those of an earlier run."""
        self.clips.pop(item.name, None)
        self.failed[item.name] = error

    def save(self) -> None:
        """Write the file, including the failures, and delete the journal.

        Raises:
            MediaError: If it cannot be written.
        """
        content = {
            "format": FORMAT,
            "made_with": self.made_with,
            "clips": self.clips,
            "failed": self.failed,
        }
        media.write_text(self.path, json.dumps(content, indent=1) + "\n")
        self._journal.remove()

    def close(self) -> None:
        """Let another process write the file; the journal stays unless the file was saved."""
        self._journal.close()


def _stamp(item: AudioItem) -> str | None:
    """Return size and time of a clip's file, which change with it but not with its folder."""
    stamp = fingerprint(item.path)
    return stamp and stamp.removeprefix(str(item.path.resolve()))


def _read(path: Path) -> dict[str, Any]:
    """Return what a file holds; nothing if it is missing or not a JSON object.

    Raises:
        MediaError: If it is too large.
    """
    try:
        content = json.loads(read_text(path, MediaError))
    except MediaError:
        raise
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
